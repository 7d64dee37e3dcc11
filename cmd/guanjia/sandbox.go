package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"guanjia/internal/sandbox"
	"guanjia/internal/sandbox/simcore"
)

type sandboxCmd struct {
	Listen string `help:"Address to listen on; port 0 takes a free one." default:"127.0.0.1:8090" placeholder:"ADDR"`
	World  string `help:"What to simulate, as PUT /sim/world takes it (JSON)." type:"existingfile" placeholder:"FILE"`
}

func (s *sandboxCmd) Run(_ *cli, o out, ctx runContext) error {
	sim := sandbox.New(sandbox.Options{Logger: o.logger("info")})
	defer stopSandbox(sim)
	if s.World != "" {
		raw, err := os.ReadFile(s.World)
		if err != nil {
			return fmt.Errorf("read the world: %w", err)
		}
		var w simcore.World
		if err := json.Unmarshal(raw, &w); err != nil {
			return fmt.Errorf("the world in %s is not as PUT /sim/world takes it: %w", s.World, err)
		}
		if err := sim.LoadWorld(w); err != nil {
			return err
		}
	}
	addr, err := sim.Start(ctx, s.Listen)
	if err != nil {
		return err
	}
	if err := o.ready(map[string]any{"ready": true, "sandbox": "http://" + addr}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func stopSandbox(sim *sandbox.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = sim.Stop(ctx) // it keeps nothing that could be lost
}
