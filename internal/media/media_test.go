package media_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
	"guanjia/internal/jobs"
	"guanjia/internal/media"
)

// putter keeps the arguments of the jobs.
type putter struct{ args []json.RawMessage }

func (p *putter) PutTx(_ context.Context, _ *db.Tx, j jobs.Job) error {
	raw, err := json.Marshal(j.Args)
	p.args = append(p.args, raw)
	return err
}

type room struct {
	*media.Store
	d    *db.DB
	clk  *clock.Manual
	jobs *putter
	body []byte
	err  error
}

func open(t testing.TB, d *db.DB) *room {
	t.Helper()
	r := &room{d: d, clk: clock.NewManual(time.Date(2026, 11, 25, 2, 0, 0, 0, time.UTC)), jobs: &putter{}}
	r.Store = media.New(media.Options{DB: d, Clock: r.clk, Jobs: r.jobs, Log: slog.New(slog.DiscardHandler),
		Download: func(context.Context, string, string) ([]byte, error) { return r.body, r.err }})
	return r
}

func (r *room) want(t testing.TB, id, kind, caseID string) {
	t.Helper()
	err := r.d.InTx(t.Context(), "test", func(ctx context.Context, tx *db.Tx) error {
		return r.WantTx(ctx, tx, media.Want{CompanyID: "c1", AccountID: "a1", ConversationID: "v1", CaseID: caseID, Kind: kind, VendorID: id})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (r *room) files(t testing.TB) []media.File {
	t.Helper()
	files, err := r.OfCase(t.Context(), r.d, "c1", "k1")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var jpeg = append([]byte{0xff, 0xd8, 0xff, 0xe0}, bytes.Repeat([]byte("x"), 700_000)...)

func TestFetch(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, kind    string
		body          []byte
		err           error
		state, reason string
	}{
		{"a picture of several chunks", "image", jpeg, nil, media.StateStored, ""},
		{"voice", "voice", []byte("#!AMR\n\x3c\x55"), nil, media.StateStored, ""},
		{"no longer there", "image", nil, media.ErrGone, media.StateGone, ""},
		{"too large, says the door", "image", nil, media.ErrTooLarge, media.StateRefused, media.ReasonTooLarge},
		{"too large", "image", make([]byte, media.MaxBytes+1), nil, media.StateRefused, media.ReasonTooLarge},
		{"a page that calls itself a picture", "image", []byte("<html><script>alert(1)</script>"), nil, media.StateRefused, media.ReasonType},
		{"a drawing that can carry a script", "image", []byte(`<?xml version="1.0"?><svg onload="alert(1)"/>`), nil, media.StateRefused, media.ReasonType},
		{"nothing", "image", nil, nil, media.StateRefused, media.ReasonType},
		{"a picture as voice", "voice", jpeg[:64], nil, media.StateRefused, media.ReasonType},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dbtest.Run(t, func(t *testing.T, d *db.DB) {
				r := open(t, d)
				r.want(t, "m1", tc.kind, "k1")
				r.want(t, "m1", tc.kind, "k1") // the message is handled twice
				if len(r.jobs.args) != 1 {
					t.Fatalf("%d jobs, want 1", len(r.jobs.args))
				}
				r.body, r.err = tc.body, tc.err
				for range 2 { // a job may run twice
					if err := r.Fetch(t.Context(), r.jobs.args[0]); err != nil {
						t.Fatal(err)
					}
				}
				files := r.files(t)
				if len(files) != 1 || files[0].State != tc.state || files[0].Reason != tc.reason {
					t.Fatalf("files %+v", files)
				}
				if tc.state != media.StateStored {
					return
				}
				body, err := r.Body(t.Context(), d, files[0])
				if err != nil || !bytes.Equal(body, tc.body) {
					t.Errorf("%d of %d bytes, %v", len(body), len(tc.body), err)
				}
				if _, err := r.ByID(t.Context(), d, "another company", files[0].ID); !errors.Is(err, media.ErrNotFound) {
					t.Errorf("another company reads it: %v", err)
				}
			})
		})
	}
}

// What the platform can't give now is asked for again, until it keeps it no more.
func TestFetchAgain(t *testing.T) {
	t.Parallel()
	r := open(t, dbtest.SQLite(t))
	r.want(t, "m1", media.KindImage, "k1")
	r.err = errors.New("away")
	for range 3 {
		if err := r.Fetch(t.Context(), r.jobs.args[0]); err == nil {
			t.Fatal("a failed fetch is done")
		}
		r.clk.Advance(time.Hour)
	}
	if f := r.files(t)[0]; f.State != media.StateWanted {
		t.Fatalf("state %s", f.State)
	}
	r.clk.Advance(72 * time.Hour)
	if err := r.Fetch(t.Context(), r.jobs.args[0]); err != nil {
		t.Fatal(err)
	}
	if f := r.files(t)[0]; f.State != media.StateGone {
		t.Errorf("state %s after three days", f.State)
	}
}

func TestAttach(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := open(t, d)
		r.want(t, "old", media.KindImage, "")
		r.clk.Advance(time.Hour)
		r.want(t, "m1", media.KindImage, "")
		r.want(t, "m2", media.KindVoice, "")
		err := d.InTx(t.Context(), "test", func(ctx context.Context, tx *db.Tx) error {
			n, err := r.AttachTx(ctx, tx, "v1", "k1", r.clk.Now().Add(-time.Minute))
			if n != 2 {
				t.Errorf("%d attached, want 2", n)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		images, voices, err := r.CountTx(t.Context(), d, "k1")
		if err != nil || images != 1 || voices != 1 {
			t.Errorf("%d, %d, %v", images, voices, err)
		}
		if images, _, err = r.CountTx(t.Context(), d, ""); err != nil || images != 0 {
			t.Errorf("%d pictures of no case, %v", images, err)
		}
	})
}

func FuzzSniff(f *testing.F) {
	f.Add("image", jpeg[:32])
	f.Add("voice", []byte("#!AMR\n"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		switch media.Sniff(kind, body) {
		case "", "image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "audio/amr", "audio/mpeg", "audio/speex":
		default:
			t.Errorf("%q is kept as %q", body, media.Sniff(kind, body))
		}
	})
}
