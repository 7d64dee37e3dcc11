package bot

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"guanjia/internal/conversation"
)

// memory is what a dialogue keeps between two messages, in its session.
type memory struct {
	// Asked counts the questions that were asked to clear up a
	// misunderstanding, since anything was understood.
	Asked   int       `json:"asked,omitempty"`
	AskedAt time.Time `json:"asked_at,omitzero"`
	// FilesAt is when the writer last sent a picture or voice that no case has yet.
	FilesAt time.Time `json:"files_at,omitzero"`
	// AnswerNo names the last answer from an article, AnsweredAt when it was given.
	AnswerNo   int64     `json:"answer_no,omitempty"`
	AnsweredAt time.Time `json:"answered_at,omitzero"`
	// Salutation is how the writer asked to be addressed.
	Salutation string `json:"salutation,omitempty"`
}

// talkAge is how long what was asked, or sent without words, belongs to the same talk.
const talkAge = 30 * time.Minute

// remembered gives the session of the dialogue and what it holds; read once a turn.
func (t *turn) remembered(ctx context.Context) (conversation.Session, memory, error) {
	if t.session != nil {
		return *t.session, t.memory, nil
	}
	s, err := t.e.Conversations.Session(ctx, t.e.DB, t.m.ConversationID)
	if err != nil {
		return s, memory{}, err
	}
	var m memory
	if len(s.Data) > 0 {
		if err := json.Unmarshal(s.Data, &m); err != nil {
			return s, memory{}, fmt.Errorf("what the dialogue remembers: %w", err)
		}
	}
	t.session, t.memory = &s, m
	return s, m, nil
}

// keep makes the session that a step stores.
func (t *turn) keep(ctx context.Context, change func(m *memory)) (*conversation.Session, error) {
	s, m, err := t.remembered(ctx)
	if err != nil {
		return nil, err
	}
	change(&m)
	if s.Data, err = json.Marshal(m); err != nil {
		return nil, fmt.Errorf("what the dialogue remembers: %w", err)
	}
	return &s, nil
}

// opened is the session after a case that takes the writer's loose files: what
// was asked before counts no more.
func (t *turn) opened(ctx context.Context) (*conversation.Session, error) {
	return t.keep(ctx, func(m *memory) { m.Asked, m.AskedAt, m.FilesAt = 0, time.Time{}, time.Time{} })
}
