package intent

import "slices"

// byModel lets the weights decide, and rules where life is at stake or a message
// is nothing but a word that needs no weighing.
func (c *Classifier) byModel(r *reading) Result {
	sums := c.model.sums(c.vector(r))
	res := Result{Emotion: c.emotional(r.got), Insult: r.got.anyOf(c.speaks["insult"])}
	var yes bool
	if res.Danger, yes = c.isEmergency(r, sums); yes {
		c.asEmergency(&res, r, sums)
		return res
	}
	c.choose(&res, r, sums)
	return res
}

func (c *Classifier) choose(res *Result, r *reading, sums []float32) {
	c.chooseIntent(res, r, sums)
	c.chooseTopic(res, r, sums)
	c.chooseCategory(res, r, sums)
}

// Thresholds of the emergency head, chosen on held-back authors; see
// docs/understanding.md.
const (
	emergencySure    = 0.2  // the head alone is enough
	emergencyWithCue = 0.03 // together with a hand-written rule
	emergencyDespite = 0.8  // against a reviewed trap: a drill, something past, a question, an all-clear
)

func (c *Classifier) isEmergency(r *reading, sums []float32) (float64, bool) {
	p := 0.0
	for _, g := range c.model.head(HeadEmergency, sums, nil) {
		if g.class == "1" {
			p = g.p
		}
	}
	if r.whole != "" {
		return p, r.danger.kind != nil
	}
	if c.suppressed(r.got) {
		return p, p >= emergencyDespite
	}
	return p, p >= emergencySure || r.danger.kind != nil && p >= emergencyWithCue
}

// overKind is from which probability the weights know category and topic of an
// emergency better than its kind does.
const overKind = 0.9

func (c *Classifier) asEmergency(res *Result, r *reading, sums []float32) {
	res.Intent, res.Emergency, res.Emotion = IntentHelp, true, true
	res.Confidence = max(res.Danger, 0.5)
	topic := c.chooseTopic(res, r, sums)
	category := c.chooseCategory(res, r, sums)
	res.EmergencyKind = c.kindOf(res, r)
	for _, k := range c.kinds {
		if k.kind != res.EmergencyKind || k.kind == DangerGeneric {
			continue
		}
		if category < overKind {
			res.Category = k.category
		}
		if r.danger.kind != nil && topic < overKind {
			res.Topic = k.topic
		}
	}
	if hurt := res.EmergencyKind == DangerFallingObject || res.EmergencyKind == DangerPersonDown; hurt && r.got.anyOf(c.speaks["play_gear"]) {
		res.Category, res.Topic = "facilities_play", "facilities"
	}
}

// kindOf names the danger: by the rule that found it, otherwise by the topic.
func (c *Classifier) kindOf(res *Result, r *reading) string {
	if r.danger.kind != nil {
		return r.danger.kind.kind
	}
	switch res.Topic {
	case "gas_leak", "outage_gas":
		return DangerGasLeak
	case "fire":
		return DangerFire
	case "electric", "outage_power":
		return DangerElectric
	case "lift":
		return DangerLiftTrapped
	case "leak", "drain", "outage_water", "heating":
		return DangerWaterBurst
	case "falling_object":
		return DangerFallingObject
	case "security", "staff_attitude":
		return DangerViolence
	case "vulnerable", "pets":
		return DangerPersonDown
	}
	return DangerGeneric
}

// alsoShare is how probable a second intent must be, against the first, to be
// named beside it; angryShare how probable a complaint must be, against the repair,
// when the words are angry. Fewer characters than twoMatters hold one matter.
const (
	alsoShare  = 0.45
	angryShare = 0.4
	twoMatters = 8
)

// A message of few characters whose best intent is less probable than guessing is
// not understood.
const (
	guessing      = 0.25
	fewCharacters = 5
)

func (c *Classifier) chooseIntent(res *Result, r *reading, sums []float32) {
	if r.whole != "" {
		res.Intent, res.Confidence = r.whole, 0.97
		return
	}
	// Nobody is told that he was abusive who used no such word.
	insults := res.Insult || c.match.anyOfClass(r.hits, "v_insult")
	gs := c.model.head(HeadIntent, sums, func(class string) bool {
		return class != InDanger && (class != IntentAbuse || insults)
	})
	res.Intent, res.Confidence = gs[0].class, gs[0].p
	if res.Confidence < guessing && len(r.text) <= fewCharacters {
		res.Intent = IntentOther
		return
	}
	g := gs[1]
	// Who reports and is angry about it complains, unless the report is clear.
	if res.Intent == IntentRepair && g.class == IntentComplaint && res.Emotion && g.p >= angryShare*gs[0].p {
		res.Intent, res.Confidence, g = g.class, g.p, gs[0]
	}
	if len(r.text) >= twoMatters && g.p >= 0.2 && g.p >= alsoShare*res.Confidence && hasMatter(g.class) && hasMatter(res.Intent) {
		res.Also = append(res.Also, g.class)
	}
}

// hasMatter tells intents that bring a matter from mere courtesies.
func hasMatter(intent string) bool {
	switch intent {
	case IntentInquiry, IntentComplaint, IntentRepair, IntentSuggestion, IntentHelp, IntentPraise, IntentUrge, IntentHandoff:
		return true
	}
	return false
}

// noneShare is how probable the best topic must be, against none at all, to be
// given: a topic that is only likely helps more than none.
const noneShare = 0.35

func (c *Classifier) chooseTopic(res *Result, r *reading, sums []float32) float64 {
	gs := c.model.head(HeadTopic, sums, nil)
	best := gs[0]
	if best.class == None {
		if gs[1].p < noneShare*best.p {
			return 0
		}
		best = gs[1]
	}
	res.Topic = best.class
	return best.p
}

// chooseCategory is asked for intents that have one.
func (c *Classifier) chooseCategory(res *Result, r *reading, sums []float32) float64 {
	allowed := categoriesOf(res.Intent)
	if allowed == nil {
		return 0
	}
	with := slices.Clone(sums)
	if row := c.model.row(IntentFeature(res.Intent).Key); row != nil {
		for i, w := range row {
			with[i] += float32(w)
		}
	}
	gs := c.model.head(HeadCategory, with, allowed)
	if gs[0].class != None {
		res.Category = gs[0].class
	}
	return gs[0].p
}

// categoriesOf says which categories an intent may have, nil for none.
func categoriesOf(intent string) func(string) bool {
	switch intent {
	case IntentRepair:
		return func(c string) bool { return c == "engineering" || c == "facilities_play" || c == "cleaning" }
	case IntentComplaint, IntentSuggestion, IntentPraise, IntentHelp:
		return func(c string) bool { return c != None }
	case IntentUrge:
		return func(string) bool { return true }
	}
	return nil
}
