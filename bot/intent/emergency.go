package intent

// blank takes the place of what only sounds like danger.
const blank = '_'

// danger is a kind of emergency found in a text.
type danger struct {
	kind     *dangerKind
	settled  bool // it was there once, or is over
	mentions bool // danger is talked about, real or not
}

// emergency looks for danger that is present now or must be assumed.
func (c *Classifier) emergency(text []rune, plain found) danger {
	got := plain
	if masked, changed := c.mask(text); changed {
		got = c.match.find(masked)
	}
	var kind *dangerKind
	for i := range c.kinds {
		if got.anyOf(c.kinds[i].patterns) {
			kind = &c.kinds[i]
			break
		}
	}
	if kind == nil {
		return danger{}
	}
	// What speaks against danger is read in the unmasked text.
	if c.suppressed(plain) {
		return danger{mentions: true, settled: true}
	}
	return danger{kind: kind, mentions: true}
}

// suppressed weighs what speaks against a present danger. Doubt counts as danger.
func (c *Classifier) suppressed(got found) bool {
	says := func(cue string) bool { return got.anyOf(c.speaks[cue]) }
	switch {
	case says("drill") && !says("notdrill"):
		return true
	case says("clear") && !says("notclear"):
		return true
	case says("conditional") && !says("urgent"):
		return true
	case says("past") && (says("settled") || !says("ongoing")):
		return true
	case says("hypothetical") && !says("real"):
		return true
	case says("slight") && !says("severe"):
		return true
	}
	return false
}

// mask replaces figures of speech and ordinary words that hold a dangerous one.
func (c *Classifier) mask(text []rune) ([]rune, bool) {
	_, hits := c.strip.hits(text)
	if len(hits) == 0 {
		return text, false
	}
	out := make([]rune, len(text))
	copy(out, text)
	for _, h := range hits {
		for i := h.start; i < h.end; i++ {
			out[i] = blank
		}
	}
	return out, true
}
