package wecomapi

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed hold.lua
var holdLua string

var holdScript = redis.NewScript(holdLua)

// Lease gives names to owners for a time, in Redis: at most one owner has a
// name. It serves those who hold something the vendor allows once, such as the
// socket of a bot. Leases are gone when Redis is emptied, so what must not
// change hands then keeps its lease in the database.
type Lease struct{ rdb redis.UniversalClient }

// NewLease makes a Lease.
func NewLease(rdb redis.UniversalClient) *Lease { return &Lease{rdb: rdb} }

func leaseKey(name string) string { return "guanjia:{lease:" + name + "}" }

// Hold takes or extends the named leases for ttl and returns those that owner
// has now.
func (l *Lease) Hold(ctx context.Context, owner string, names []string, ttl time.Duration) ([]string, error) {
	var held []string
	for _, name := range names {
		got, err := holdScript.Run(ctx, l.rdb, []string{leaseKey(name)}, owner, ttl.Milliseconds()).Int()
		if err != nil {
			return held, fmt.Errorf("hold lease %s: %w", name, err)
		}
		if got == 1 {
			held = append(held, name)
		}
	}
	return held, nil
}

// Release gives up those of the named leases that owner has.
func (l *Lease) Release(ctx context.Context, owner string, names []string) error {
	for _, name := range names {
		if err := unlockScript.Run(ctx, l.rdb, []string{leaseKey(name)}, owner).Err(); err != nil {
			return fmt.Errorf("release lease %s: %w", name, err)
		}
	}
	return nil
}
