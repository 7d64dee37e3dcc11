package bot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"guanjia/bot/intent"
	"guanjia/internal/estate"
	"guanjia/internal/wording"
)

// Outages knows what the house has told of: *notify.Notices.
type Outages interface {
	// Active gives what a resident of these homes is answered while a notice
	// about this topic runs there; ok is false when none does.
	Active(ctx context.Context, companyID string, homes []estate.Home, topic string) (text wording.Text, ok bool, err error)
}

// outageTopics is how topics of what stops begin (glossary, section 3).
const outageTopics = "outage_"

// outage answers from a running notice a resident who asks why there is no
// water, power or gas; ok is false when none explains it, and then his words
// become a case. A complaint stays a case, since it wants more than the reason
// (glossary: always a case), and so do words that may hold a second matter.
func (t *turn) outage(ctx context.Context) (s step, ok bool, err error) {
	if t.e.Outages == nil || !strings.HasPrefix(t.read.Topic, outageTopics) || !t.onlyAsksWhy() {
		return step{}, false, nil
	}
	r, err := t.who(ctx)
	if err != nil || r == nil {
		return step{}, false, err
	}
	text, ok, err := t.e.Outages.Active(ctx, t.m.CompanyID, t.meantHomes(r.Homes), t.read.Topic)
	if err != nil {
		return step{}, false, fmt.Errorf("running notices: %w", err)
	}
	return step{say: reply{text: text}}, ok, nil
}

// manyWords is from how many characters on words say more than that something
// is off.
const manyWords = 30

// further are words that lead to a second matter.
var further = []string{"另外", "还有", "顺便", "以及", "而且"}

// onlyAsksWhy tells whether the reason of an outage answers all that was said.
func (t *turn) onlyAsksWhy() bool {
	if len([]rune(t.said)) > manyWords || slices.ContainsFunc(further, func(w string) bool { return strings.Contains(t.said, w) }) {
		return false
	}
	return asksWhy(t.read.Intent) && !slices.ContainsFunc(t.read.Also, func(also string) bool { return !asksWhy(also) })
}

// asksWhy are the intents that the reason of an outage answers.
func asksWhy(kind string) bool {
	switch kind {
	case intent.IntentInquiry, intent.IntentRepair, intent.IntentHelp, intent.IntentUrge, intent.IntentOther:
		return true
	}
	return false
}

// meantHomes are the homes that the words can be about: those in the building
// that they name, else all of the writer's.
func (t *turn) meantHomes(homes []estate.Home) []estate.Home {
	building := t.read.Slots.Building
	if building == "" {
		return homes
	}
	var list []estate.Home
	for _, h := range homes {
		if h.Building == building {
			list = append(list, h)
		}
	}
	return list
}
