package simwecom

import (
	"context"
	"encoding/json"
)

// Feed hands one frame to the simulator as a subscribed bot would and answers what
// came back, without a network in between.
func Feed(ctx context.Context, s *Sim, botID string, data []byte) [][]byte {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &conn{out: make(chan outFrame, outBuffer), cancel: cancel, host: "localhost"}
	s.mu.Lock()
	if b := s.bot(botID); b != nil {
		c.bot, b.conn = b, c
	}
	s.mu.Unlock()
	var f frame
	if json.Unmarshal(data, &f) != nil || f.Cmd == "" {
		return nil
	}
	s.take(ctx, c, f)
	var out [][]byte
	for {
		select {
		case o := <-c.out:
			out = append(out, o.data)
		default:
			return out
		}
	}
}
