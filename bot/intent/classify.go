package intent

import (
	"regexp"
	"slices"
)

// reading is what rules and model see of one message.
type reading struct {
	text    []rune
	slots   Slots
	said    []saidValue
	got     found
	hits    []hit
	danger  danger
	about   subject
	whole   string // intent of a message that is nothing but a greeting, a number, ...
	ruled   Result // what the weighted cues alone say
	history []*reading
}

// Classify reads one message. It never panics and takes bounded time: of a very
// long text only the beginning and the end are looked at.
func (c *Classifier) Classify(in Input) Result {
	r := c.read(in.Text)
	for _, h := range in.History[max(0, len(in.History)-historyDepth):] {
		r.history = append(r.history, c.read(h))
	}
	res := c.decide(r)
	res.Slots = r.slots
	c.withHistory(&res, r)
	return res
}

// Vector returns the features of a message for the training. What was said before
// it is no feature: withHistory is a rule.
func (c *Classifier) Vector(in Input) []Feature { return c.vector(c.read(in.Text)) }

func (c *Classifier) read(s string) *reading {
	r := &reading{text: c.normalise(s)}
	if spaced(r.text) {
		r.text = squeeze(r.text)
	}
	r.slots, r.said = c.slots.read(r.text)
	r.whole = c.byWhole(r.text)
	if plain := c.dialect(c.spelt(r.text)); !slices.Equal(plain, r.text) {
		r.text = plain
		_, r.said = c.slots.read(plain)
	}
	r.got, r.hits = c.match.findAll(r.text)
	r.danger = c.emergency(r.text, r.got)
	r.about = c.topic(r.got)
	if r.whole == "" {
		r.whole = c.byWhole(r.text)
	}
	r.ruled = c.byScore(r.text, r.got, r.slots, r.about)
	return r
}

// decide reads a message without its history.
func (c *Classifier) decide(r *reading) Result {
	if c.model == nil {
		return c.byRules(r)
	}
	return c.byModel(r)
}

// byRules is the first classifier of this package: weighted cues alone. It stands
// in while there are no weights.
func (c *Classifier) byRules(r *reading) Result {
	if r.danger.kind != nil {
		return c.emergencyResult(r.danger, r)
	}
	res := r.ruled
	if r.whole != "" {
		res = Result{Intent: r.whole, Confidence: 0.95}
	}
	res.Topic = r.about.topic
	res.Category = c.category(res.Intent, r.got, r.about)
	res.Emotion = c.emotional(r.got)
	res.Insult = r.got.anyOf(c.speaks["insult"])
	return res
}

func (c *Classifier) emergencyResult(d danger, r *reading) Result {
	res := Result{
		Intent: IntentHelp, Emergency: true, EmergencyKind: d.kind.kind, Category: d.kind.category,
		Topic: d.kind.topic, Confidence: 0.95, Emotion: true,
	}
	hurtByGear := d.kind.kind == DangerFallingObject || d.kind.kind == DangerPersonDown
	if hurtByGear && r.got.anyOf(c.speaks["play_gear"]) {
		res.Category, res.Topic = "facilities_play", "facilities"
	}
	return res
}

var (
	codeAlone = regexp.MustCompile(`^[a-z]{0,2}#?\d{5,9}$`)
	noWords   = regexp.MustCompile(`^[^\p{L}\p{N}]*$`)
	ratingish = regexp.MustCompile(`^[1-5]$`)
	offScale  = regexp.MustCompile(`^[给打评我就只能最多个]{0,5}\d{1,3}分`)
	bracketed = regexp.MustCompile(`^(\[[^\]]{1,6}\]\s*)+$`)
)

// byWhole knows messages that are nothing but a greeting, a rating, a number.
func (c *Classifier) byWhole(text []rune) string {
	s := string(text)
	b := bare(text)
	switch {
	case noWords.MatchString(s):
		return IntentOther
	case c.whole[b] != "":
		return c.whole[b]
	case bracketed.MatchString(s):
		return IntentChitchat
	case ratingish.MatchString(b):
		return IntentRating
	case c.slots.addressOnly(text):
		return IntentIdentity
	case codeAlone.MatchString(b):
		return IntentUrge
	}
	return ""
}

// minimum is the score below which nothing is recognised.
const minimum = 1

func (c *Classifier) byScore(text []rune, got found, slots Slots, about subject) Result {
	best, second := scored{}, scored{}
	scores := map[string]int{}
	for _, in := range c.intents {
		sum := 0
		for _, r := range in.rules {
			if got.anyOf(r.patterns) {
				sum += r.weight
			}
		}
		scores[in.intent] = sum
	}
	adjust(text, scores, slots, about)
	for _, in := range c.intents {
		s := scored{in.intent, scores[in.intent]}
		switch {
		case s.score > best.score:
			best, second = s, best
		case s.score > second.score:
			second = s
		}
	}
	if best.score < minimum {
		return fallback(text, about)
	}
	res := Result{Intent: best.intent, Confidence: confidence(best.score, second.score)}
	if second.score >= 3 && second.score*2 >= best.score {
		res.Also = append(res.Also, second.intent)
	}
	return res
}

type scored struct {
	intent string
	score  int
}

func confidence(best, second int) float64 {
	c := 0.4 + 0.08*float64(best) + 0.08*float64(best-second)
	return min(c, 0.95)
}

// adjust settles the known conflicts between intents.
func adjust(text []rune, s map[string]int, slots Slots, about subject) {
	// An insult with a matter is a complaint; without one it is abuse.
	matter := s[IntentRepair] + s[IntentUrge] + s[IntentInquiry] + s[IntentHelp] + s[IntentSuggestion]
	if s[IntentAbuse] > 0 {
		if about.topic != "" || matter > 1 || s[IntentComplaint] > 3 {
			s[IntentAbuse] = 0
			s[IntentComplaint] += 2
		} else {
			s[IntentAbuse] += 4
		}
	}
	// A thank-you at the end of a request is only manners.
	if s[IntentThanks] > 0 && s[IntentThanks] <= 3 && (s[IntentUrge] > 2 || s[IntentRepair] > 2 || s[IntentHelp] > 2) {
		s[IntentThanks] = 0
	}
	// Praise says more than thanks.
	if s[IntentPraise] >= 3 && s[IntentThanks] > 0 {
		s[IntentPraise] += 2
	}
	if slots.Rating > 0 {
		s[IntentRating] += 4
	}
	if offScale.MatchString(string(text)) {
		s[IntentRating] += 4
	}
	// A long message is no rating, unless it gives a number.
	if len(text) > 40 && slots.Rating == 0 {
		s[IntentRating] -= 3
	}
	// Who he is, and nothing else.
	if len(text) <= 24 && slots != (Slots{}) && slots.Rating == 0 && slots.CaseNo == "" && matter == 0 && s[IntentComplaint] == 0 && s[IntentSpam] == 0 {
		s[IntentIdentity] += 3
	}
}

// fallback reads what no cue decided, from its topic: what breaks is reported,
// what annoys is complained about.
func fallback(text []rune, about subject) Result {
	switch {
	case about.topic == "" || len(text) < 4:
		return Result{Intent: IntentOther, Confidence: 0.2}
	case about.category == "engineering":
		return Result{Intent: IntentRepair, Confidence: 0.3, Also: []string{IntentComplaint}}
	}
	return Result{Intent: IntentComplaint, Confidence: 0.3, Also: []string{IntentRepair}}
}

// subject is the soft label of a message and the category that follows from it.
type subject struct{ topic, category string }

func (c *Classifier) topic(got found) subject {
	best := 0
	var about subject
	for _, t := range c.topics {
		n := 0
		for _, id := range t.patterns {
			if got.has(id) {
				n++
			}
		}
		if n == 0 {
			continue
		}
		if score := t.weight*2 + n*2; score > best {
			best, about = score, subject{t.topic, t.category}
		}
	}
	return about
}

// category is set where the intent has one.
func (c *Classifier) category(intent string, got found, about subject) string {
	switch intent {
	case IntentRepair:
		return repairCategory(about.topic)
	case IntentHelp:
		return c.helpCategory(about.category, got)
	case IntentComplaint, IntentSuggestion, IntentPraise:
		return c.mattersTo(about.category, got)
	case IntentUrge:
		if about.category == "" {
			return ""
		}
		return c.mattersTo(about.category, got)
	}
	return ""
}

func repairCategory(topic string) string {
	switch topic {
	case "facilities":
		return "facilities_play"
	case "pest_control":
		return "cleaning"
	}
	return "engineering"
}

func (c *Classifier) mattersTo(byTopic string, got found) string {
	for _, g := range c.groups {
		if got.anyOf(g.patterns) {
			return g.category
		}
	}
	if byTopic != "" {
		return byTopic
	}
	return "other"
}

// helpCategory: people with special needs first, things lost or locked with the
// guards, a fault with the engineers.
func (c *Classifier) helpCategory(byTopic string, got found) string {
	switch {
	case got.anyOf(c.speaks["special_needs"]):
		return "special_needs"
	case got.anyOf(c.speaks["guards"]) || byTopic == "":
		return "order_security"
	}
	return byTopic
}

func (c *Classifier) emotional(got found) bool { return got.anyOf(c.speaks["emotion"]) }

// historyDepth is how far back a matter may lie.
const historyDepth = 5

// withHistory lets a short or dependent message stand in the light of what was
// said before: 「还没来」 after a report of gas is still about gas.
func (c *Classifier) withHistory(res *Result, r *reading) {
	if len(r.history) == 0 {
		return
	}
	if res.Emergency && (r.danger.kind != nil || len(r.text) > dependentLength) || !res.Emergency && !c.dependent(res, r.text) {
		return
	}
	for _, earlier := range slices.Backward(r.history) {
		before := c.decide(earlier)
		switch {
		case before.Emergency:
			if !c.suppressed(r.got) {
				c.stillDanger(res, r, before)
			}
			return
		case earlier.danger.settled:
			if res.Emergency && res.Danger < settledDanger {
				*res = c.calm(r)
			}
			return
		case before.Topic != "" && res.Topic == "" && !closing(res.Intent) && !res.Emergency:
			res.Topic, res.Continues = before.Topic, true
			if res.Category == "" && res.Intent == IntentUrge {
				res.Category = before.Category
			}
			return
		}
	}
}

// settledDanger is how probable danger must be in a short message after the
// all-clear.
const settledDanger = 0.8

// stillDanger makes a message part of the emergency before it. It may press, or
// just say more.
func (c *Classifier) stillDanger(res *Result, r *reading, before Result) {
	in := res.Intent
	if res.Emergency {
		in = c.calm(r).Intent
	}
	res.Emergency, res.EmergencyKind, res.Continues = true, before.EmergencyKind, true
	res.Category, res.Topic = before.Category, before.Topic
	res.Intent = IntentHelp
	if in == IntentUrge {
		res.Intent = IntentUrge
	}
	if in != res.Intent && !slices.Contains(res.Also, in) {
		res.Also = append(res.Also, in)
	}
}

// calm is what a message says apart from danger.
func (c *Classifier) calm(r *reading) Result {
	if c.model == nil {
		return c.byRules(r)
	}
	res := Result{Emotion: c.emotional(r.got), Insult: r.got.anyOf(c.speaks["insult"])}
	c.choose(&res, r, c.model.sums(c.vector(r)))
	return res
}

// closing intents end a matter instead of continuing it.
func closing(intent string) bool {
	switch intent {
	case IntentThanks, IntentFarewell, IntentRating, IntentUnsubscribe, IntentSpam, IntentGift, IntentPraise:
		return true
	}
	return false
}

// dependentLength is up to how many characters a message may lean on the one
// before it.
const dependentLength = 12

// dependent says that a message hardly stands alone.
func (c *Classifier) dependent(res *Result, text []rune) bool {
	if closing(res.Intent) {
		return false
	}
	switch res.Intent {
	case IntentInquiry, IntentSuggestion:
		return res.Topic == "" && len(text) <= dependentLength
	case IntentUrge, IntentIdentity, IntentOther, IntentHelp, IntentHandoff, IntentAbuse:
		return true
	}
	return len(text) <= dependentLength || res.Confidence < 0.5
}
