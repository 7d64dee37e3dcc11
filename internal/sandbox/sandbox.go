package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/clock"
	"guanjia/internal/sandbox/page"
	"guanjia/internal/sandbox/simcore"
	"guanjia/internal/sandbox/simsms"
	"guanjia/internal/sandbox/simwechat"
	"guanjia/internal/sandbox/simwecom"
)

// Options of New.
type Options struct {
	Clock  clock.Clock  // nil: the machine's
	Logger *slog.Logger // nil: silent
	// Advance moves the one clock of product and simulators and returns when
	// what became due has been done; nil makes POST /sim/clock answer 409.
	Advance func(ctx context.Context, d time.Duration) error
}

// Server is the simulators as one value.
type Server struct {
	core    *simcore.Core
	modules []simcore.Module
	advance func(ctx context.Context, d time.Duration) error
	handler http.Handler

	mu    sync.Mutex
	world simcore.World // as last handed over
	http  *http.Server
	ended chan struct{}
}

// New makes empty simulators. Stop must be called even without Start.
func New(o Options) *Server {
	if o.Clock == nil {
		o.Clock = clock.System()
	}
	core := simcore.New(o.Clock, o.Logger)
	s := &Server{
		core:    core,
		modules: []simcore.Module{simwechat.New(core), simwecom.New(core), simsms.New(core)},
		advance: o.Advance,
	}
	s.handler = s.routes()
	return s
}

// Handler answers the vendors' endpoints, /sim/ and the page.
func (s *Server) Handler() http.Handler { return s.handler }

// Settle returns when everything that is due at the simulators (receipts,
// result events) has been delivered. It is the hook that follows an advance
// of the clock.
func (s *Server) Settle(ctx context.Context) error {
	if err := s.core.Timers.Settle(ctx); err != nil {
		return fmt.Errorf("settle the simulators: %w", err)
	}
	return nil
}

// OnAdvance is Settle in the shape of a clock hook.
func (s *Server) OnAdvance(ctx context.Context, _ time.Duration) error { return s.Settle(ctx) }

// LoadWorld is PUT /sim/world for a caller in the same process.
func (s *Server) LoadWorld(w simcore.World) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.world
	for i, m := range s.modules {
		if err := m.LoadWorld(w.Clone()); err != nil {
			for _, done := range s.modules[:i] {
				// It took this world before, so it takes it again.
				_ = done.LoadWorld(before.Clone())
			}
			return fmt.Errorf("load world into %s: %w", m.Name(), err)
		}
	}
	// What the old world still had to push belongs to nobody now.
	s.core.Timers.Clear()
	s.world = w.Clone()
	return nil
}

// Start listens (port 0 takes a free one) and serves until Stop. It answers
// the address "host:port".
func (s *Server) Start(ctx context.Context, listen string) (string, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return "", fmt.Errorf("listen for the simulators on %s: %w", listen, err)
	}
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    1 << 20,
		// A call that a fault lets hang ends with the simulators.
		BaseContext: func(net.Listener) context.Context { return s.core.Context() },
		ErrorLog:    slog.NewLogLogger(s.core.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	s.mu.Lock()
	s.http, s.ended = srv, ended
	s.mu.Unlock()
	go func() {
		defer close(ended)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.core.Log.Error("simulators stopped serving", "error", err)
		}
	}()
	return ln.Addr().String(), nil
}

// Stop ends serving and all background work within ctx.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	srv, ended := s.http, s.ended
	s.http = nil
	s.mu.Unlock()
	err := s.core.Stop(ctx)
	if srv == nil {
		return err
	}
	if stopErr := srv.Shutdown(ctx); stopErr != nil {
		err = errors.Join(err, stopErr, srv.Close())
	}
	<-ended
	return err
}

func (s *Server) routes() http.Handler {
	r := chi.NewRouter()
	r.Put("/sim/world", s.putWorld)
	r.Get("/sim/world", s.getWorld)
	r.Put("/sim/faults", s.putFaults)
	r.Get("/sim/faults", s.getFaults)
	r.Delete("/sim/faults", s.deleteFaults)
	r.Get("/sim/counters", s.getCounters)
	r.Get("/sim/clock", s.getClock)
	r.Post("/sim/clock", s.postClock)
	r.Post("/sim/reset", s.postReset)
	for _, m := range s.modules {
		m.Routes(r)
	}
	r.Handle("/*", page.Handler())
	return r
}

func (s *Server) putWorld(w http.ResponseWriter, r *http.Request) {
	var world simcore.World
	if !simcore.ReadJSON(w, r, &world) {
		return
	}
	if err := s.LoadWorld(world); err != nil {
		writeBad(w, err)
		return
	}
	s.getWorld(w, r)
}

func (s *Server) getWorld(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	world := s.world.Clone()
	for _, m := range s.modules {
		m.WriteWorld(&world)
	}
	s.mu.Unlock()
	simcore.WriteJSON(w, http.StatusOK, world.Filled())
}

func (s *Server) putFaults(w http.ResponseWriter, r *http.Request) {
	var list []simcore.Fault
	if !simcore.ReadJSON(w, r, &list) {
		return
	}
	if err := s.core.Faults.Set(list); err != nil {
		writeBad(w, err)
		return
	}
	s.getFaults(w, r)
}

func (s *Server) getFaults(w http.ResponseWriter, _ *http.Request) {
	simcore.WriteJSON(w, http.StatusOK, map[string]any{"faults": s.core.Faults.List()})
}

func (s *Server) deleteFaults(w http.ResponseWriter, r *http.Request) {
	if err := s.core.Faults.Set(nil); err != nil {
		writeBad(w, err)
		return
	}
	s.getFaults(w, r)
}

func (s *Server) getCounters(w http.ResponseWriter, _ *http.Request) {
	simcore.WriteJSON(w, http.StatusOK, s.core.Counters.Report())
}

func (s *Server) getClock(w http.ResponseWriter, _ *http.Request) {
	simcore.WriteJSON(w, http.StatusOK, map[string]any{"now": s.core.Now().Format(time.RFC3339Nano)})
}

func (s *Server) postClock(w http.ResponseWriter, r *http.Request) {
	if s.advance == nil {
		simcore.WriteError(w, http.StatusConflict, "clock_fixed",
			"these simulators run on the machine's clock; only a demo can move it", "")
		return
	}
	var in struct {
		AdvanceS float64 `json:"advance_s"`
	}
	if !simcore.ReadJSON(w, r, &in) {
		return
	}
	if in.AdvanceS < 0 || in.AdvanceS > 10*366*24*3600 {
		simcore.WriteError(w, http.StatusBadRequest, "bad_request", "the clock moves forwards only, ten years at most", "advance_s")
		return
	}
	if err := s.advance(r.Context(), time.Duration(in.AdvanceS*float64(time.Second))); err != nil {
		simcore.WriteError(w, http.StatusInternalServerError, "advance_failed", err.Error(), "")
		return
	}
	s.getClock(w, r)
}

func (s *Server) postReset(w http.ResponseWriter, r *http.Request) {
	empty := r.URL.Query().Get("empty") == "1"
	s.mu.Lock()
	if err := s.core.Faults.Set(nil); err != nil {
		s.core.Log.Error("clear faults", "error", err)
	}
	s.core.Timers.Clear()
	s.core.Counters.Reset()
	if empty {
		s.world = simcore.World{}
	}
	for _, m := range s.modules {
		m.Reset(empty)
	}
	s.mu.Unlock()
	simcore.WriteJSON(w, http.StatusOK, map[string]any{"reset": true, "empty": empty})
}

func writeBad(w http.ResponseWriter, err error) {
	var bad *simcore.BadInput
	if errors.As(err, &bad) {
		simcore.WriteError(w, http.StatusBadRequest, "bad_request", bad.Message, bad.Field)
		return
	}
	simcore.WriteError(w, http.StatusBadRequest, "bad_request", err.Error(), "")
}
