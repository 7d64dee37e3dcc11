package worldtest

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"guanjia/internal/db"
	"guanjia/internal/jobs"
	"guanjia/internal/media"
)

// Files stands in for the platform's files and for the engine that fetches
// them: a test puts files there and lets them be fetched.
type Files struct {
	mu     sync.Mutex
	bodies map[string][]byte
	jobs   []json.RawMessage
}

// Put lets the platform have a file.
func (f *Files) Put(vendorID string, body []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bodies[vendorID] = body
}

func (f *Files) get(_ context.Context, _, vendorID string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, ok := f.bodies[vendorID]
	if !ok {
		return nil, media.ErrGone
	}
	return body, nil
}

// PutTx implements media.Runner: the job is kept once its transaction is committed.
func (f *Files) PutTx(_ context.Context, tx *db.Tx, j jobs.Job) error {
	args, err := json.Marshal(j.Args)
	if err != nil {
		return err
	}
	tx.AfterCommit(func(context.Context) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.jobs = append(f.jobs, args)
	})
	return nil
}

// Fetch does the jobs that were put since the last call, and tells how many.
func (f *Files) Fetch(t testing.TB, s *media.Store) int {
	t.Helper()
	f.mu.Lock()
	todo := f.jobs
	f.jobs = nil
	f.mu.Unlock()
	for _, args := range todo {
		if err := s.Fetch(t.Context(), args); err != nil {
			t.Fatalf("fetch: %v", err)
		}
	}
	return len(todo)
}
