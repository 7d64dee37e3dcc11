package media

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/jobs"
)

// JobFetch gets a wanted file.
const JobFetch = "media.fetch"

type fetchArgs struct {
	ID string `json:"id"`
}

// WantTx writes down that a file is wanted and puts the job that fetches it.
// The same file twice is once.
func (s *Store) WantTx(ctx context.Context, tx *db.Tx, w Want) error {
	if w.VendorID == "" || len(kinds[w.Kind]) == 0 {
		return fmt.Errorf("media: want a file of kind %q without an id or of an unknown kind", w.Kind)
	}
	now := s.o.Clock.Now()
	id := db.NewID()
	res, err := tx.ExecContext(ctx, `
		insert into media (id, company_id, account_id, vendor_id, conversation_id, case_id, kind, state, content_type, size, reason, created_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, '', 0, '', $9)
		on conflict (account_id, vendor_id) do nothing`,
		id, w.CompanyID, w.AccountID, w.VendorID, w.ConversationID, w.CaseID, w.Kind, StateWanted, db.At(now))
	if err != nil {
		return fmt.Errorf("media: want: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	return s.o.Jobs.PutTx(ctx, tx, jobs.Job{Kind: JobFetch, Args: fetchArgs{id}, UniqueKey: id})
}

// AttachTx gives a case what the writer sent before he said what it is about,
// not longer ago than since, and tells how much that was.
func (s *Store) AttachTx(ctx context.Context, tx *db.Tx, conversationID, caseID string, since time.Time) (int64, error) {
	res, err := tx.ExecContext(ctx, `
		update media set case_id = $1 where conversation_id = $2 and case_id = '' and created_at >= $3`,
		caseID, conversationID, db.At(since))
	if err != nil {
		return 0, fmt.Errorf("media: attach: %w", err)
	}
	return res.RowsAffected()
}

const columns = `id, company_id, case_id, kind, state, reason, content_type, size, created_at`

func scan(row interface{ Scan(...any) error }) (File, error) {
	var f File
	var created db.Time
	err := row.Scan(&f.ID, &f.CompanyID, &f.CaseID, &f.Kind, &f.State, &f.Reason, &f.ContentType, &f.Size, &created)
	f.CreatedAt = created.Time
	return f, err
}

// shownFiles bounds what a case lists.
const shownFiles = 100

// OfCase lists the files of a case, oldest first.
func (s *Store) OfCase(ctx context.Context, q db.Querier, companyID, caseID string) ([]File, error) {
	rows, err := q.QueryContext(ctx, `select `+columns+` from media
		where case_id = $1 and company_id = $2 order by created_at, id limit $3`, caseID, companyID, shownFiles)
	if err != nil {
		return nil, fmt.Errorf("media: list: %w", err)
	}
	defer rows.Close()
	var out []File
	for rows.Next() {
		f, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("media: list: %w", err)
		}
		out = append(out, f)
	}
	return out, rows.Err()
}

// CountTx counts the files of a case by kind.
func (s *Store) CountTx(ctx context.Context, q db.Querier, caseID string) (images, voices int64, err error) {
	err = q.QueryRowContext(ctx, `select count(*) filter (where kind = 'image'), count(*) filter (where kind = 'voice')
		from media where case_id = $1 and case_id <> ''`, caseID).Scan(&images, &voices)
	if err != nil {
		return 0, 0, fmt.Errorf("media: count: %w", err)
	}
	return images, voices, nil
}

// ByID finds a file of a company; ErrNotFound otherwise.
func (s *Store) ByID(ctx context.Context, q db.Querier, companyID, id string) (File, error) {
	f, err := scan(q.QueryRowContext(ctx, `select `+columns+` from media where id = $1 and company_id = $2`, id, companyID))
	if errors.Is(err, sql.ErrNoRows) {
		return File{}, ErrNotFound
	}
	if err != nil {
		return File{}, fmt.Errorf("media: read: %w", err)
	}
	return f, nil
}

// Body reads a stored file, at most MaxBytes.
func (s *Store) Body(ctx context.Context, q db.Querier, f File) ([]byte, error) {
	rows, err := q.QueryContext(ctx, `select body from media_chunks where media_id = $1 order by n`, f.ID)
	if err != nil {
		return nil, fmt.Errorf("media: read body: %w", err)
	}
	defer rows.Close()
	body := make([]byte, 0, min(f.Size, MaxBytes))
	for rows.Next() {
		var chunk []byte
		if err := rows.Scan(&chunk); err != nil {
			return nil, fmt.Errorf("media: read body: %w", err)
		}
		body = append(body, chunk...)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("media: read body: %w", err)
	}
	if int64(len(body)) != f.Size {
		return nil, fmt.Errorf("media: file %s has %d of %d bytes", f.ID, len(body), f.Size)
	}
	return body, nil
}

// wanted is a file to be fetched.
type wanted struct {
	File
	accountID, vendorID string
}

func (s *Store) wanted(ctx context.Context, id string) (wanted, error) {
	var w wanted
	var created db.Time
	err := s.o.DB.QueryRowContext(ctx, `select id, company_id, kind, state, account_id, vendor_id, created_at from media where id = $1`, id).
		Scan(&w.ID, &w.CompanyID, &w.Kind, &w.State, &w.accountID, &w.vendorID, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return w, ErrNotFound
	}
	if err != nil {
		return w, fmt.Errorf("media: read what is wanted: %w", err)
	}
	w.CreatedAt = created.Time
	return w, nil
}

// put writes the chunks, each by itself, and says at last that the file is
// here: one that a crash left half is written again and shown by nobody.
func (s *Store) put(ctx context.Context, id, contentType string, body []byte) error {
	for n := 0; n*chunkBytes < len(body); n++ {
		part := body[n*chunkBytes : min((n+1)*chunkBytes, len(body))]
		_, err := s.o.DB.ExecContext(ctx, `insert into media_chunks (media_id, n, body) values ($1, $2, $3)
			on conflict (media_id, n) do update set body = excluded.body`, id, n, part)
		if err != nil {
			return fmt.Errorf("media: store: %w", err)
		}
	}
	return s.settle(ctx, id, StateStored, "", contentType, int64(len(body)))
}

func (s *Store) settle(ctx context.Context, id, state, reason, contentType string, size int64) error {
	_, err := s.o.DB.ExecContext(ctx, `update media set state = $2, reason = $3, content_type = $4, size = $5, stored_at = $6
		where id = $1 and state = 'wanted'`, id, state, reason, contentType, size, db.At(s.o.Clock.Now()))
	if err != nil {
		return fmt.Errorf("media: settle: %w", err)
	}
	return nil
}
