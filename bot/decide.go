package bot

import (
	"context"
	"strings"
	"time"

	"guanjia/bot/intent"
	"guanjia/internal/conversation"
	"guanjia/internal/desk"
	"guanjia/internal/wording"
)

// decide picks the step for the message: danger first, then events and the
// words that always work (interfaces section 3), then what the classifier reads.
// What needs no row is answered without reading one.
func (t *turn) decide(ctx context.Context) (step, error) {
	if t.m.Kind == conversation.KindEvent {
		return t.event(ctx)
	}
	if t.m.Type != "text" {
		return t.media(ctx)
	}
	t.said = strings.TrimSpace(t.m.Text)
	if t.said == "" {
		return t.say("empty", nil)
	}
	t.read = t.e.Classifier.Classify(intent.Input{Text: t.said})
	if t.read.Emergency {
		return t.danger(ctx)
	}
	if s, ok, err := t.surveyed(ctx); err != nil || ok {
		return s, err
	}
	if run, ok := t.command(); ok {
		return run(ctx)
	}
	if run, ok := courtesies[t.read.Intent]; ok && t.read.Also == nil {
		return run(t, ctx)
	}
	t.urging = t.read.Intent == intent.IntentUrge
	if t.dependsOnHistory() {
		if err := t.readHistory(ctx); err != nil {
			return step{}, err
		}
		if t.read.Emergency {
			return t.danger(ctx)
		}
	}
	if s, ok, err := t.outage(ctx); err != nil || ok {
		return s, err
	}
	run, ok := matters[t.read.Intent]
	if !ok {
		run = (*turn).other
	}
	return run(t, ctx)
}

// courtesies are intents answered from the words alone.
var courtesies = map[string]func(*turn, context.Context) (step, error){
	intent.IntentThanks:   fixed("thanks"),
	intent.IntentGreeting: (*turn).greet,
	intent.IntentFarewell: fixed("farewell"),
	intent.IntentGift:     fixed("gift.refused"),
	intent.IntentChitchat: func(t *turn, _ context.Context) (step, error) {
		return t.say("chitchat", wording.Vars{"bot": t.company.Settings.BotName})
	},
	intent.IntentSpam:  func(*turn, context.Context) (step, error) { return step{}, nil },
	intent.IntentAbuse: fixed("abuse.calm"),
}

// fixed answers with a text that needs nothing.
func fixed(key string) func(*turn, context.Context) (step, error) {
	return func(t *turn, _ context.Context) (step, error) { return t.say(key, nil) }
}

// matters are intents that read or write rows.
var matters = map[string]func(*turn, context.Context) (step, error){
	intent.IntentInquiry:     (*turn).inquiry,
	intent.IntentComplaint:   (*turn).matter,
	intent.IntentRepair:      (*turn).matter,
	intent.IntentSuggestion:  (*turn).matter,
	intent.IntentHelp:        (*turn).matter,
	intent.IntentPraise:      (*turn).matter,
	intent.IntentUrge:        (*turn).urge,
	intent.IntentHandoff:     (*turn).handoff,
	intent.IntentRating:      (*turn).rating,
	intent.IntentIdentity:    (*turn).identity,
	intent.IntentUnsubscribe: (*turn).unsubscribe,
	intent.IntentOther:       (*turn).other,
}

// dependsOnHistory tells whether the words may mean something else after what
// was said before: 「还没来」 after a gas report is still the gas report.
func (t *turn) dependsOnHistory() bool {
	switch t.read.Intent {
	case intent.IntentUrge, intent.IntentOther, intent.IntentIdentity, intent.IntentInquiry, intent.IntentHelp:
		return true
	}
	return false
}

// historyLines and historyAge bound what counts as the same talk.
const (
	historyLines = 6
	historyAge   = 30 * time.Minute
)

func (t *turn) readHistory(ctx context.Context) error {
	lines, err := t.e.Conversations.Recent(ctx, t.e.DB, t.m.ConversationID, historyLines)
	if err != nil {
		return err
	}
	var history []string
	for _, l := range lines {
		if l.From == conversation.FromResident && l.Text != "" && l.Text != t.m.Text && t.m.ReceivedAt.Sub(l.At) < historyAge {
			history = append(history, l.Text)
		}
	}
	if len(history) > 0 {
		t.read = t.e.Classifier.Classify(intent.Input{Text: t.said, History: history})
	}
	return nil
}

// greet answers a greeting and asks what can be done, with the
// salutation that the writer chose and the festival's wish.
func (t *turn) greet(ctx context.Context) (step, error) {
	vars := wording.Vars{"bot": t.company.Settings.BotName, "daypart": t.daypart()}
	_, m, err := t.remembered(ctx)
	if err != nil {
		return step{}, err
	}
	if m.Salutation != "" {
		vars["salutation"] = m.Salutation
	}
	if key := t.e.Festivals.At(t.e.Clock.Now()); key != "" {
		_, alarmed, err := t.newestCase(ctx, func(c desk.Case) bool { return c.State.Open() && c.Emergency() })
		if err != nil {
			return step{}, err
		}
		if !alarmed { // nobody in danger is wished a merry day
			vars["festival"] = t.e.Book.Label("festival", key)
		}
	}
	return t.say("greeting.hello", vars)
}

// address keeps how the writer wants to be addressed.
func (t *turn) address(ctx context.Context, salutation string) (step, error) {
	session, err := t.keep(ctx, func(m *memory) { m.Salutation = salutation })
	if err != nil {
		return step{}, err
	}
	s, err := t.say("salutation.noted", wording.Vars{"salutation": salutation})
	s.session = session
	return s, err
}

// daypart names the label of the present part of the day.
func (t *turn) daypart() string {
	hour := t.e.Clock.Now().In(china).Hour()
	part := "night"
	switch {
	case hour >= 5 && hour < 11:
		part = "morning"
	case hour >= 11 && hour < 13:
		part = "noon"
	case hour >= 13 && hour < 18:
		part = "afternoon"
	case hour >= 18 && hour < 23:
		part = "evening"
	}
	return t.e.Book.Label("daypart", part)
}

// china is the only time zone of the product's users.
var china = time.FixedZone("CST", 8*3600)
