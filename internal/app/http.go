package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

// publicRoutes are the addresses of interfaces section 2.
func (a *App) publicRoutes() http.Handler {
	r := chi.NewRouter()
	r.Use(a.realIP, a.recoverer)
	r.Get("/healthz", a.healthz)
	r.Get("/readyz", a.readyz)
	if a.o.Config.MetricsListen == "" {
		r.Method(http.MethodGet, "/metrics", a.metrics.Handler())
	}
	if !a.o.Config.Has("web") {
		return r
	}
	r.Handle("/wechat/{account}", a.rooms.callback)
	r.Mount("/sms", a.rooms.smsReports)
	r.Route("/api/v1", func(r chi.Router) {
		r.Use(middleware.Timeout(apiTimeout))
		a.rooms.api.Routes(r)
	})
	r.Mount("/console", a.rooms.console)
	r.Mount("/h5", a.rooms.h5)
	r.Get("/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/console/", http.StatusFound) })
	return r
}

// apiTimeout bounds one call of the API.
const apiTimeout = 20 * time.Second

// innerRoutes are what the company's own monitoring asks.
func (a *App) innerRoutes() http.Handler {
	r := chi.NewRouter()
	r.Use(a.recoverer)
	r.Get("/healthz", a.healthz)
	r.Get("/readyz", a.readyz)
	r.Method(http.MethodGet, "/metrics", a.metrics.Handler())
	return r
}

// recoverer keeps a panic inside its request.
func (a *App) recoverer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v == http.ErrAbortHandler {
				panic(v)
			}
			a.log.ErrorContext(r.Context(), "panic in a handler", slog.String("route", chi.RouteContext(r.Context()).RoutePattern()), slog.String("stack", string(debug.Stack())))
			http.Error(w, "internal error", http.StatusInternalServerError)
		}()
		next.ServeHTTP(w, r)
	})
}

// realIP believes X-Forwarded-For only when the peer is a trusted proxy.
func (a *App) realIP(next http.Handler) http.Handler {
	var trusted []*net.IPNet
	for _, p := range a.o.Config.TrustedProxy {
		if _, n, err := net.ParseCIDR(p); err == nil {
			trusted = append(trusted, n)
		}
	}
	if len(trusted) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, port, err := net.SplitHostPort(r.RemoteAddr)
		if err == nil && within(trusted, net.ParseIP(host)) {
			if ip := lastForeign(trusted, r.Header.Values("X-Forwarded-For")); ip != "" {
				r.RemoteAddr = net.JoinHostPort(ip, port)
			}
		}
		next.ServeHTTP(w, r)
	})
}

func within(nets []*net.IPNet, ip net.IP) bool {
	for _, n := range nets {
		if ip != nil && n.Contains(ip) {
			return true
		}
	}
	return false
}

// lastForeign is the nearest address that is not a proxy of ours: what stands
// further left was written by the caller.
func lastForeign(trusted []*net.IPNet, headers []string) string {
	hops := strings.Split(strings.Join(headers, ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		ip := net.ParseIP(strings.TrimSpace(hops[i]))
		if ip == nil {
			return ""
		}
		if !within(trusted, ip) {
			return ip.String()
		}
	}
	return ""
}

// healthz says that the process lives.
func (a *App) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"ok": true})
}

// probeTimeout bounds the question to one dependency.
const probeTimeout = time.Second

// dependency is one thing readiness looks at.
type dependency struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Required bool   `json:"required"`
	Detail   string `json:"detail,omitempty"`
}

// readyz is red when the database is away or the node is stopping. Without
// Redis the node goes on, by the rows alone, and says so.
func (a *App) readyz(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	serving := a.serving
	a.mu.Unlock()
	deps := []dependency{{Name: "serving", OK: serving, Required: true}}
	deps = append(deps, a.probe(r.Context(), "database", true, a.db.Ping))
	deps = append(deps, a.probe(r.Context(), "redis", false, func(ctx context.Context) error { return a.rdb.Ping(ctx).Err() }))
	deps = append(deps, a.rooms.dependencies(r.Context())...)
	ready := true
	for _, d := range deps {
		ready = ready && (d.OK || !d.Required)
	}
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, map[string]any{"ready": ready, "dependencies": deps})
}

func (a *App) probe(ctx context.Context, name string, required bool, ask func(context.Context) error) dependency {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := ask(ctx); err != nil {
		return dependency{Name: name, Required: required, Detail: "does not answer"}
	}
	return dependency{Name: name, OK: true, Required: required}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the reader has gone; there is nobody to tell
}
