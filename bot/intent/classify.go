package intent

import (
	"regexp"
	"slices"
)

// Classify reads one message. It never panics and takes bounded time: of a very
// long text only the beginning and the end are looked at.
func (c *Classifier) Classify(in Input) Result {
	text := c.normalise(in.Text)
	res := c.single(text)
	res.Slots = c.slots.read(text)
	c.withHistory(&res, text, in.History)
	return res
}

// single reads a message without its history.
func (c *Classifier) single(text []rune) Result {
	if d := c.emergency(text); d.kind != nil {
		return c.emergencyResult(d, text)
	}
	got := c.match.find(text)
	res := c.byWhole(text, got)
	if res.Intent == "" {
		res = c.byScore(text, got)
	}
	res.Topic, _ = c.topic(got)
	res.Category = c.category(res.Intent, got)
	res.Emotion = c.emotional(got)
	res.Insult = anyOf(got, c.speaks["insult"])
	return res
}

func (c *Classifier) emergencyResult(d danger, text []rune) Result {
	res := Result{
		Intent: IntentHelp, Emergency: true, EmergencyKind: d.kind.kind, Category: d.kind.category,
		Topic: d.kind.topic, Confidence: 0.95, Emotion: true,
	}
	got := c.match.find(text)
	for _, g := range c.groups {
		if g.category == "facilities_play" && anyOf(got, g.patterns) && d.kind.kind != DangerMissing && d.kind.kind != DangerViolence && d.kind.topic != "electric" {
			if d.kind.kind == DangerFallingObject || !anyOf(got, c.speaks["water_rescue"]) {
				res.Category, res.Topic = g.category, "facilities"
			}
		}
	}
	return res
}

var (
	codeAlone = regexp.MustCompile(`^[a-z]{0,2}#?\d{5,9}$`)
	noWords   = regexp.MustCompile(`^[^\p{L}\p{N}]*$`)
	ratingish = regexp.MustCompile(`^[1-5]$`)
	bracketed = regexp.MustCompile(`^(\[[^\]]{1,6}\]\s*)+$`)
)

// byWhole knows messages that are nothing but a greeting, a rating, a number.
func (c *Classifier) byWhole(text []rune, _ found) Result {
	s := string(text)
	b := bare(text)
	sure := Result{Confidence: 0.95}
	switch {
	case noWords.MatchString(s):
		sure.Intent = IntentOther
	case c.whole[b] != "":
		sure.Intent = c.whole[b]
	case bracketed.MatchString(s):
		sure.Intent = IntentChitchat
	case ratingish.MatchString(b):
		sure.Intent = IntentRating
	case c.slots.addressOnly(text):
		sure.Intent = IntentIdentity
	case codeAlone.MatchString(b):
		sure.Intent = IntentUrge
	default:
		return Result{}
	}
	return sure
}

// minimum is the score below which nothing is recognised.
const minimum = 1

func (c *Classifier) byScore(text []rune, got found) Result {
	best, second := scored{}, scored{}
	scores := map[string]int{}
	for _, in := range c.intents {
		sum := 0
		for _, r := range in.rules {
			if anyOf(got, r.patterns) {
				sum += r.weight
			}
		}
		scores[in.intent] = sum
	}
	c.adjust(text, got, scores)
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
		return c.fallback(text, got)
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
func (c *Classifier) adjust(text []rune, got found, s map[string]int) {
	// An insult with a matter is a complaint; without one it is abuse.
	matter := s[IntentRepair] + s[IntentUrge] + s[IntentInquiry] + s[IntentHelp] + s[IntentSuggestion]
	if s[IntentAbuse] > 0 {
		if _, hasTopic := c.topic(got); hasTopic != "" || matter > 1 || s[IntentComplaint] > 3 {
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
	// A long message is no rating.
	if len(text) > 40 {
		s[IntentRating] -= 3
	}
}

// fallback reads what no cue decided.
func (c *Classifier) fallback(text []rune, got found) Result {
	if _, category := c.topic(got); category != "" && len(text) >= 4 {
		return Result{Intent: IntentComplaint, Confidence: 0.3, Also: []string{IntentRepair}}
	}
	return Result{Intent: IntentOther, Confidence: 0.2}
}

// topic returns the soft label and the category that follows from it.
func (c *Classifier) topic(got found) (topic, category string) {
	best := 0
	for _, t := range c.topics {
		n := 0
		for _, id := range t.patterns {
			if got[id] {
				n++
			}
		}
		if n == 0 {
			continue
		}
		if score := t.weight*2 + n*2; score > best {
			best, topic, category = score, t.topic, t.category
		}
	}
	return topic, category
}

// category is set where the intent has one.
func (c *Classifier) category(intent string, got found) string {
	topic, byTopic := c.topic(got)
	switch intent {
	case IntentRepair:
		return repairCategory(topic)
	case IntentComplaint, IntentSuggestion, IntentPraise, IntentHelp:
		return c.mattersTo(byTopic, got)
	case IntentUrge:
		if byTopic == "" {
			return ""
		}
		return c.mattersTo(byTopic, got)
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
		if anyOf(got, g.patterns) {
			return g.category
		}
	}
	if byTopic != "" {
		return byTopic
	}
	return "other"
}

func (c *Classifier) emotional(got found) bool { return anyOf(got, c.speaks["emotion"]) }

// historyDepth is how far back a matter may lie.
const historyDepth = 5

// withHistory lets a short or dependent message stand in the light of what was
// said before: 「还没来」 after a report of gas is still about gas.
func (c *Classifier) withHistory(res *Result, text []rune, history []string) {
	if len(history) == 0 || res.Emergency || !c.dependent(res, text) {
		return
	}
	from := max(0, len(history)-historyDepth)
	for _, h := range slices.Backward(history[from:]) {
		earlier := c.normalise(h)
		d := c.emergency(earlier)
		if d.settled {
			return
		}
		if d.kind != nil {
			if c.suppressed(c.match.find(text)) {
				return
			}
			res.Emergency, res.EmergencyKind, res.Continues = true, d.kind.kind, true
			res.Category, res.Topic = d.kind.category, d.kind.topic
			if res.Intent != IntentUrge {
				res.Also = append(res.Also, res.Intent)
				res.Intent = IntentHelp
			}
			return
		}
		if prev := c.single(earlier); prev.Topic != "" && res.Topic == "" && !closing(res.Intent) {
			res.Topic, res.Continues = prev.Topic, true
			if res.Category == "" && res.Intent == IntentUrge {
				res.Category = prev.Category
			}
			return
		}
	}
}

// closing intents end a matter instead of continuing it.
func closing(intent string) bool {
	switch intent {
	case IntentThanks, IntentFarewell, IntentRating, IntentUnsubscribe, IntentSpam, IntentGift, IntentPraise:
		return true
	}
	return false
}

// dependent says that a message hardly stands alone.
func (c *Classifier) dependent(res *Result, text []rune) bool {
	if closing(res.Intent) {
		return false
	}
	switch res.Intent {
	case IntentUrge, IntentIdentity, IntentOther, IntentHelp, IntentHandoff, IntentAbuse:
		return true
	}
	return len(text) <= 12 || res.Confidence < 0.5
}
