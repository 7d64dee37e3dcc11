package conversation

import "time"

// Asked is a question that was put to somebody and waits for an answer, such as
// how satisfied he is. Whoever says a number answers the last one.
type Asked struct {
	Invitation string // who was asked what, in the room that asks
	CaseID     string // of a question about a case
	CaseNo     string
	At         time.Time // when the question was put
	Low, High  int       // numbers that it takes
	Over       bool      // it takes no answer any more
	Anonymous  bool      // it is answered on its page only
	Doubted    bool      // it was asked once already what was meant
	Answered   bool      // something was answered already
}
