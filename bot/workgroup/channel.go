package workgroup

import (
	"context"
	"time"
)

// Chat is one conversation of staff with a bot: a group, or one member alone.
type Chat struct {
	CompanyID string
	BotID     string // our id of the bot's account
	// ID is the chat system's id, byte for byte: the group's chatid, or the
	// member's id when Single.
	ID     string
	Single bool
}

// Message is what a member said to the bot.
type Message struct {
	ID      string // our id of the stored message
	Chat    Chat
	BotName string // display name, that of the mention
	From    string // the chat system's id of the member
	Text    string
	Quote   string // words of the message that was quoted, empty for none
	Images  int    // pictures sent along
	At      time.Time
	// Again says that an earlier attempt at this message began and nobody
	// knows how far it came.
	Again bool
}

// Click is a press on a button of a card.
type Click struct {
	ID      string // our id of the stored click
	Chat    Chat
	BotName string
	From    string
	TaskID  string
	Key     string
	At      time.Time
}

// Answer is what the bot says back at once. An empty Text says nothing.
type Answer struct {
	Text string // markdown
}

// Handler is what a StaffChannel hands its input to. Both methods may be
// called for the same input again after a crash and must then do no more than
// once what they do.
type Handler interface {
	// Message answers a message.
	Message(ctx context.Context, m Message) (Answer, error)
	// Click gives the card that replaces the one clicked. It must return
	// within the channel's ClickBudget.
	Click(ctx context.Context, c Click) (Card, error)
}

// Caps says what a chat system can do, so that words and cards fit it.
type Caps struct {
	Interactive   bool          // cards have buttons
	ClickBudget   time.Duration // how long a click may take to be answered
	UpdateAfter   bool          // a card can be changed later
	Mention       bool          // the bot can ring a member
	FreeTextInput bool          // a card takes text
	MaxText       int           // bytes of one text
}

// StaffChannel is a chat system that staff use: it brings messages and clicks
// to a Handler while it runs, and takes cards and texts. Errors are the
// channel's own; what they mean for a delivery is the channel's sender's
// business.
type StaffChannel interface {
	Caps() Caps
	// Run serves until ctx ends.
	Run(ctx context.Context) error
	// PushCard sends a card. The channel decides nothing about repeats.
	PushCard(ctx context.Context, to Chat, c Card) error
	// PushText sends markdown.
	PushText(ctx context.Context, to Chat, markdown string) error
}
