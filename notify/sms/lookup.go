package sms

import (
	"context"
	"fmt"
	"sync"
	"time"

	"guanjia/internal/ledger"
)

const (
	lookEvery   = time.Second // machine's clock
	looksAtOnce = 8
	looksABatch = 64
	midnightGap = 10 * time.Minute
)

// Run asks the vendor about calls of unknown result and missing or doubtful
// receipts when their time comes, and hands residents' answers on, until ctx
// ends.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.o.Ledger.Doubts():
		case <-tick.C:
		}
		err := s.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing {
			s.o.Logger.ErrorContext(ctx, "sms look-ups fail", "err", err)
		}
		failing = err != nil
	}
}

// Settle makes every look-up that is due and hands on what is stored: for a
// clock that was moved.
func (s *Service) Settle(ctx context.Context) error { return s.round(ctx) }

func (s *Service) round(ctx context.Context) error {
	for {
		n, err := s.lookUp(ctx)
		if err != nil {
			return err
		}
		if n < looksABatch {
			break
		}
	}
	return s.handOn(ctx)
}

func (s *Service) lookUp(ctx context.Context) (int, error) {
	list, err := s.o.Ledger.Lookups(ctx, ledger.ChannelSMS, looksABatch)
	if err != nil {
		return 0, err
	}
	var (
		wg    sync.WaitGroup
		slots = make(chan struct{}, looksAtOnce)
		mu    sync.Mutex
		first error
	)
	for _, u := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			_, err := s.o.Ledger.Checked(ctx, u.Attempt, s.ask(ctx, u))
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				if first == nil {
					first = fmt.Errorf("look-up: %w", err)
				}
			}
		})
	}
	wg.Wait()
	return len(list), first
}

// ask looks one call up, on both days when it was made around midnight.
func (s *Service) ask(ctx context.Context, u ledger.Lookup) ledger.Check {
	acc, _, ok := s.account(ctx, u.AccountID)
	if !ok {
		return ledger.Check{Found: ledger.FoundNoAnswer}
	}
	k := keys{acc.AccessKeyID, acc.AccessKeySecret}
	for _, day := range days(u.StartedAt) {
		d, found, err := s.client.find(ctx, k, u.Address, u.OutID, day)
		if err != nil {
			return ledger.Check{Found: ledger.FoundNoAnswer}
		}
		if found {
			return checkOf(d)
		}
	}
	return ledger.Check{Found: ledger.FoundAbsent}
}

// days are the vendor's days on which a call may be filed.
func days(at time.Time) []string {
	at = at.In(chinaTime())
	list := []string{at.Format("20060102")}
	for _, near := range []time.Duration{-midnightGap, midnightGap} {
		if day := at.Add(near).Format("20060102"); day != list[0] {
			list = append(list, day)
		}
	}
	return list
}

func checkOf(d detail) ledger.Check {
	c := ledger.Check{Code: d.errCode, At: d.at}
	switch d.status {
	case statusDelivered:
		c.Found = ledger.FoundDelivered
	case statusFailed:
		c.Found = ledger.FoundFailed
		c.Transient = receiptOf(d.errCode) == receiptTransient
	case statusWaiting:
		c.Found = ledger.FoundPending
	default:
		c.Found = ledger.FoundNoAnswer
	}
	return c
}
