package api

import (
	_ "embed"
	"net/http"
)

//go:embed openapi.json
var openapi []byte

// describe serves the description of the interface; it needs no token.
func (a *API) describe(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(openapi) // the reader has gone
}
