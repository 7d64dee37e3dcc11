package app

import (
	"context"
	"fmt"
	"net"
)

// reserve settles which port a demo will have before it listens: the simulators
// must know the callback address before the product subscribes to them.
func reserve(ctx context.Context, listen string) (string, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return "", fmt.Errorf("listen on %s: %w", listen, err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		return "", fmt.Errorf("listen on %s: %w", listen, err)
	}
	return addr, nil
}
