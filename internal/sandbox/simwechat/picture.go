package simwechat

import (
	"bytes"
	"crypto/sha256"
	"image"
	"image/color"
	"image/jpeg"
	"net/http"
)

const (
	codeCells = 16
	codeCell  = 12 // pixels
)

// showCode answers the picture of a code. It looks like one and is the same
// for the same ticket, but nothing can be read from it: residents of the
// simulator scan by POST /sim/residents/{openid}/scan.
func (s *Sim) showCode(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("ticket")
	if !s.codeShown(id) {
		http.NotFound(w, r)
		return
	}
	sum := sha256.Sum256([]byte(id))
	img := image.NewGray(image.Rect(0, 0, codeCells*codeCell, codeCells*codeCell))
	for y := range codeCells * codeCell {
		for x := range codeCells * codeCell {
			bit := (y/codeCell)*codeCells + x/codeCell
			shade := color.Gray{Y: 255}
			if sum[bit/8]>>(bit%8)&1 == 1 {
				shade.Y = 0
			}
			img.SetGray(x, y, shade)
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "image/jpg")
	_, _ = w.Write(b.Bytes()) // a caller who has gone is not our trouble
}

func (s *Sim) codeShown(id string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, a := range s.order {
		a.mu.Lock()
		sc, ok := a.scenes[id]
		a.mu.Unlock()
		if ok {
			return sc.permanent || s.core.Now().Before(sc.until)
		}
	}
	return false
}
