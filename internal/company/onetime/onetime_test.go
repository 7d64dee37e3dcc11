package onetime_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/company"
	"guanjia/internal/company/onetime"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
)

type suite struct {
	*onetime.Codes
	db    *db.DB
	clock *clock.Manual
}

func newSuite(t *testing.T, d *db.DB) suite {
	t.Helper()
	s, err := company.NewSealer(bytes.Repeat([]byte{1}, company.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	clk := clock.NewManual(time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC))
	return suite{onetime.New(clk, s), d, clk}
}

func request(subject, scope, target string) onetime.Request {
	return onetime.Request{
		CompanyID: "c", Purpose: "home", Subject: subject, Scope: scope, Target: target, Detail: "detail", Interval: time.Minute, TTL: 5 * time.Minute,
	}
}

// issue and redeem commit whatever the answer is, as callers do.
func (s suite) issue(t testing.TB, r onetime.Request) (out onetime.Issued, answer error) {
	t.Helper()
	err := s.db.InTx(context.Background(), "issue", func(ctx context.Context, tx *db.Tx) error {
		out, answer = s.IssueTx(ctx, tx, r)
		if errors.Is(answer, onetime.ErrTooSoon) {
			return nil
		}
		return answer
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, answer
}

func (s suite) redeem(t testing.TB, subject, code string) (out onetime.Redeemed, answer error) {
	t.Helper()
	err := s.db.InTx(context.Background(), "redeem", func(ctx context.Context, tx *db.Tx) error {
		out, answer = s.RedeemTx(ctx, tx, "c", "home", subject, code)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out, answer
}

func other(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

func run(t *testing.T, test func(t *testing.T, s suite)) {
	t.Helper()
	dbtest.Run(t, func(t *testing.T, d *db.DB) { test(t, newSuite(t, d)) })
}

func TestCodeWorksOnce(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		in, err := s.issue(t, request("o1", "3-2-1201", "r1"))
		if err != nil || len(in.Code) != 6 {
			t.Fatalf("issued %+v, %v", in, err)
		}
		if pending, err := s.Pending(context.Background(), s.db, "c", "home", "o1"); !pending || err != nil {
			t.Errorf("a code is awaited, but: %t, %v", pending, err)
		}
		if _, err := s.redeem(t, "o2", in.Code); !errors.Is(err, onetime.ErrNoCode) {
			t.Errorf("another user's code gives %v, want ErrNoCode", err)
		}
		out, err := s.redeem(t, "o1", in.Code)
		if err != nil || out.Target != "r1" || out.Detail != "detail" {
			t.Fatalf("redeemed %+v, %v", out, err)
		}
		if _, err := s.redeem(t, "o1", in.Code); !errors.Is(err, onetime.ErrNoCode) {
			t.Errorf("a used code gives %v, want ErrNoCode", err)
		}
	})
}

func TestTriesAreLimited(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		in, err := s.issue(t, request("o1", "3-2-1201", "r1"))
		if err != nil {
			t.Fatal(err)
		}
		for range onetime.MaxTries {
			if _, err := s.redeem(t, "o1", other(in.Code)); !errors.Is(err, onetime.ErrWrongCode) {
				t.Fatalf("a wrong code gives %v, want ErrWrongCode", err)
			}
		}
		if _, err := s.redeem(t, "o1", in.Code); !errors.Is(err, onetime.ErrNoCode) {
			t.Errorf("after five wrong codes the right one gives %v, want ErrNoCode", err)
		}
	})
}

func TestParallelGuessesDoNotShareATry(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		in, err := s.issue(t, request("o1", "3-2-1201", "r1"))
		if err != nil {
			t.Fatal(err)
		}
		var looked atomic.Int32
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := s.redeem(t, "o1", other(in.Code)); errors.Is(err, onetime.ErrWrongCode) {
					looked.Add(1)
				}
			})
		}
		wg.Wait()
		if looked.Load() != onetime.MaxTries {
			t.Errorf("%d guesses were looked at, want %d", looked.Load(), onetime.MaxTries)
		}
	})
}

func TestCodeExpires(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		in, err := s.issue(t, request("o1", "3-2-1201", "r1"))
		if err != nil {
			t.Fatal(err)
		}
		s.clock.Set(s.clock.Now().Add(5 * time.Minute))
		if pending, err := s.Pending(context.Background(), s.db, "c", "home", "o1"); pending || err != nil {
			t.Errorf("an expired code is awaited: %t, %v", pending, err)
		}
		if _, err := s.redeem(t, "o1", in.Code); !errors.Is(err, onetime.ErrExpired) {
			t.Errorf("an expired code gives %v, want ErrExpired", err)
		}
	})
}

func TestOneCodeAMinuteForAScope(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		for i, step := range []struct {
			after          time.Duration
			subject, scope string
			want           error
		}{
			{0, "o1", "3-2-1201", nil},
			{0, "o1", "3-2-1201", onetime.ErrTooSoon},
			{0, "o2", "3-2-1201", onetime.ErrTooSoon}, // another user, the same home
			{0, "o2", "3-2-1202", nil},                // another home
			{59 * time.Second, "o3", "3-2-1201", onetime.ErrTooSoon},
			{time.Second, "o3", "3-2-1201", nil},
		} {
			s.clock.Set(s.clock.Now().Add(step.after))
			if _, err := s.issue(t, request(step.subject, step.scope, "r1")); !errors.Is(err, step.want) {
				t.Errorf("step %d gives %v, want %v", i, err, step.want)
			}
		}
	})
}

func TestOneSubjectMayNotProbe(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		for n := range onetime.MaxPerHour {
			if _, err := s.issue(t, request("o1", fmt.Sprint("home ", n), "")); err != nil {
				t.Fatalf("request %d: %v", n, err)
			}
		}
		if _, err := s.issue(t, request("o1", "one more", "")); !errors.Is(err, onetime.ErrTooSoon) {
			t.Errorf("request 11 of the hour gives %v, want ErrTooSoon", err)
		}
		s.clock.Set(s.clock.Now().Add(time.Hour))
		if _, err := s.issue(t, request("o1", "one more", "")); err != nil {
			t.Errorf("an hour later: %v", err)
		}
	})
}

func TestOfTwoAtOnceOneGetsACode(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		var got atomic.Int32
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				if _, err := s.issue(t, request(fmt.Sprint("o", n), "3-2-1201", "r1")); err == nil {
					got.Add(1)
				}
			})
		}
		wg.Wait()
		if got.Load() != 1 {
			t.Errorf("%d of 8 requests for one home got a code, want 1", got.Load())
		}
	})
}

// Nobody can tell a request without target from one with: the same answers, in
// the same order.
func TestNobodyBehindItLooksTheSame(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		answers := func(subject, scope, target string) []string {
			var out []string
			note := func(err error) { out = append(out, fmt.Sprint(err)) }
			in, err := s.issue(t, request(subject, scope, target))
			note(err)
			_, err = s.issue(t, request(subject, scope, target))
			note(err)
			pending, err := s.Pending(context.Background(), s.db, "c", "home", subject)
			note(err)
			out = append(out, fmt.Sprint(pending))
			for range onetime.MaxTries + 1 {
				_, err = s.redeem(t, subject, other(in.Code))
				note(err)
			}
			return out
		}
		known, unknown := answers("o1", "h1", "r1"), answers("o2", "h2", "")
		if fmt.Sprint(known) != fmt.Sprint(unknown) {
			t.Errorf("known:   %v\nunknown: %v", known, unknown)
		}
		in, err := s.issue(t, request("o3", "h3", ""))
		if err != nil || in.Code != "" {
			t.Errorf("a code was made for nobody: %v", err)
		}
	})
}

func TestANewCodeRetiresTheOld(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		first, err := s.issue(t, request("o1", "h1", "r1"))
		if err != nil {
			t.Fatal(err)
		}
		second, err := s.issue(t, request("o1", "h2", "r2"))
		if err != nil {
			t.Fatal(err)
		}
		if first.Code != second.Code {
			if _, err := s.redeem(t, "o1", first.Code); !errors.Is(err, onetime.ErrWrongCode) {
				t.Errorf("the old code gives %v, want ErrWrongCode", err)
			}
		}
		if out, err := s.redeem(t, "o1", second.Code); err != nil || out.Target != "r2" {
			t.Errorf("the new code gives %+v, %v", out, err)
		}
	})
}

func TestCodesAreNotInTheDatabase(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		in, err := s.issue(t, request("o1", "h1", "r1"))
		if err != nil {
			t.Fatal(err)
		}
		var mac string
		if err := s.db.QueryRowContext(context.Background(), `SELECT code_mac FROM one_time_codes`).Scan(&mac); err != nil {
			t.Fatal(err)
		}
		if len(mac) != 64 || mac == in.Code {
			t.Errorf("stored is %q", mac)
		}
	})
}

func TestForget(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		in, err := s.issue(t, request("o1", "h1", "r1"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.db.InTx(context.Background(), "forget", func(ctx context.Context, tx *db.Tx) error { return s.ForgetTx(ctx, tx, "c", "o1") }); err != nil {
			t.Fatal(err)
		}
		if _, err := s.redeem(t, "o1", in.Code); !errors.Is(err, onetime.ErrNoCode) {
			t.Errorf("a forgotten code gives %v", err)
		}
	})
}

func TestCancelledCodeIsWorthlessAndStillCounts(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		for n := range onetime.MaxPerHour {
			in, err := s.issue(t, request("o1", fmt.Sprint("home ", n), "r1"))
			if err != nil {
				t.Fatal(err)
			}
			err = s.db.InTx(context.Background(), "cancel", func(ctx context.Context, tx *db.Tx) error { return s.CancelTx(ctx, tx, "c", "home", "o1") })
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.redeem(t, "o1", in.Code); !errors.Is(err, onetime.ErrNoCode) {
				t.Fatalf("a cancelled code gives %v, want ErrNoCode", err)
			}
			if left, err := s.TriesLeft(context.Background(), s.db, "c", "home", "o1"); left != 0 || err != nil {
				t.Fatalf("%d tries left, %v", left, err)
			}
		}
		if _, err := s.issue(t, request("o1", "one more", "r1")); !errors.Is(err, onetime.ErrTooSoon) {
			t.Errorf("cancelling gets round the limit: %v", err)
		}
	})
}
