package staff

import (
	"fmt"
	"time"
)

// Member is one of the staff.
type Member struct {
	CompanyID, UserID, Name string
	Role                    string // a Role
	Phone                   string // 11 digits, or empty
	Trainee                 bool   // not yet working alone
	Left                    bool   // works here no more
	OnDuty                  bool
}

// Format implements fmt.Formatter for every verb, without the phone.
func (m Member) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "member %s", m.UserID) }

// WorkGroup is a work group (企业微信群) bound to a queue.
type WorkGroup struct {
	ID, CompanyID, BotID, ChatID, Name, QueueID string
}

// QueueMember says that a member works on a queue.
type QueueMember struct {
	CompanyID, QueueID, UserID string
	Capacity                   int // cases at once; 0 means the company's default
}

// Principal is who acts in console or API. Member is empty for an
// administrator who is no staff.
type Principal struct {
	CompanyID string
	Member    Member
	Admin     bool
	Via       string // "console" or "token"
}

// UserID is the staff id, or "admin" for an administrator who is none.
func (p Principal) UserID() string {
	if p.Member.UserID != "" {
		return p.Member.UserID
	}
	return "admin"
}

// Name is what people read.
func (p Principal) Name() string {
	if p.Member.Name != "" {
		return p.Member.Name
	}
	return "管理员"
}

// ConsoleUser is a sign-in. PasswordHash is an argon2id text (see
// Staff.HashPassword).
type ConsoleUser struct {
	Username, CompanyID, UserID string
	Admin                       bool
	PasswordHash                string
}

// Token is an API token without its secret.
type Token struct {
	ID, CompanyID, UserID, Name string
	Admin                       bool
	CreatedAt, ExpiresAt        time.Time // ExpiresAt zero: never
}

// Entry is one line of the audit.
type Entry struct {
	CompanyID string
	Actor     string // userid, "admin", "system"
	Action    string // what was done: "bind_group", "token.create"
	Object    string // to what: an id
	Detail    string // without personal data
	At        time.Time
}
