package notify

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"guanjia/internal/calendar"
	"guanjia/internal/ledger"
	"guanjia/internal/wording"
)

// kindsPath is the file of the kinds, within package templates.
const kindsPath = "notice/kinds.yaml"

// kind is one kind of notice: its rules as data.
type kind struct {
	Code       string        `yaml:"-"`
	Name       string        `yaml:"name"`
	Words      []string      `yaml:"words"`    // stand alone
	Prefixes   []string      `yaml:"prefixes"` // stand before a topic's word
	Topics     string        `yaml:"topics"`   // outage, operation, weather, any
	Approve    string        `yaml:"approve"`  // notice, emergency, inherit
	Endorse    bool          `yaml:"endorse"`
	Channels   channelList   `yaml:"channels"`
	Fallback   string        `yaml:"fallback"`
	SMSNeeded  bool          `yaml:"sms_required"`
	Lead       bool          `yaml:"lead"`
	Quiet      string        `yaml:"quiet"`        // respect, ignore, inherit
	OptOut     string        `yaml:"opt_out"`      // ignore, inherit, or the class that is asked for
	Class      ledger.Class  `yaml:"class"`
	Lane       ledger.Lane   `yaml:"lane"`
	Required   []string      `yaml:"required"`
	Starts     string        `yaml:"starts"`  // now
	Contact    string        `yaml:"contact"` // hotline, service, inherit
	Title      string        `yaml:"title"`
	What       string        `yaml:"what"`
	Action     string        `yaml:"action"`
	Reason     string        `yaml:"reason"`
	Remind     time.Duration `yaml:"remind"`
	ValidFor   time.Duration `yaml:"valid_for"`
	Grace      time.Duration `yaml:"grace"`
	Answer     bool          `yaml:"answer"` // answers another notice (Draft.Of)
	EndsChain  bool          `yaml:"ends_chain"`
	Changes    []string      `yaml:"changes"`
	Answers    bool          `yaml:"answers"` // the bot answers residents from it
	Checklist  []string      `yaml:"checklist"`
	SMS        string        `yaml:"sms"`
	SMSOpen    string        `yaml:"sms_open"` // while the end is not known
	Template   string        `yaml:"template"`
	TemplOpen  string        `yaml:"template_open"`
	RemindSMS  string        `yaml:"remind_sms"`
	RemindTmpl string        `yaml:"remind_template"`
}

// channelList is a list of channels, or the word inherit for none of its own.
type channelList []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *channelList) UnmarshalYAML(n *yaml.Node) error {
	if n.Value == inherit {
		*c = nil
		return nil
	}
	var list []string
	if err := n.Decode(&list); err != nil {
		return err
	}
	*c = list
	return nil
}

const inherit = "inherit"

// topic is what a notice is about.
type topic struct {
	What   string   `yaml:"what"`
	Supply string   `yaml:"supply"`
	Words  []string `yaml:"words"`
	Action string   `yaml:"action"`
	Back   string   `yaml:"back"` // what to do when it is restored
}

// catalogue is kinds.yaml.
type catalogue struct {
	Meals      []string         `yaml:"meals"`
	Night      []string         `yaml:"night"`
	RecentDays int              `yaml:"recent_days"`
	Topics     map[string]topic `yaml:"topics"`
	Operations map[string]topic `yaml:"operations"`
	Weather    struct {
		Words []string `yaml:"words"`
	} `yaml:"weather"`
	Kinds    map[string]*kind  `yaml:"kinds"`
	Outcomes map[string]string `yaml:"outcomes"`
	Told     []string          `yaml:"told"`
	Personal []string          `yaml:"personal"`
	Dead     []string          `yaml:"dead"`
	Reasons  map[string]string `yaml:"reasons"`

	meals, night []calendar.Period
	order        []string // kinds in the order of the file
	outcomeOrder []string
	words        []heard // the longest first
}

// heard is a word that names a kind, a topic or both.
type heard struct {
	word, kind, topic string
	weather           bool // the word is what happens, not a topic's code
}

// fields that a kind may require.
var fields = []string{"of", "topic", "title", "scope", "starts_at", "ends_at", "reason", "action", "contact"}

// loadKinds reads the kinds and checks them against the texts.
func loadKinds(fsys fs.FS, book *wording.Book) (*catalogue, error) {
	raw, err := fs.ReadFile(fsys, kindsPath)
	if err != nil {
		return nil, fmt.Errorf("notify: read kinds: %w", err)
	}
	var c catalogue
	dec := yaml.NewDecoder(strings.NewReader(string(raw)))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil {
		return nil, fmt.Errorf("notify: %s: %w", kindsPath, err)
	}
	var doc struct {
		Kinds    yaml.Node `yaml:"kinds"`
		Outcomes yaml.Node `yaml:"outcomes"`
	}
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("notify: %s: %w", kindsPath, err)
	}
	c.order, c.outcomeOrder = keysOf(doc.Kinds), keysOf(doc.Outcomes)
	var problems []error
	for code, k := range c.Kinds {
		k.Code = code
		problems = append(problems, k.check(book)...)
	}
	if c.meals, err = periods(c.Meals); err != nil {
		problems = append(problems, err)
	}
	if c.night, err = periods(c.Night); err != nil {
		problems = append(problems, err)
	}
	for _, code := range c.Told {
		if c.Outcomes[code] == "" {
			problems = append(problems, fmt.Errorf("told names the outcome %s, which is none", code))
		}
	}
	if err := c.listWords(); err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("notify: %s: %w", kindsPath, errors.Join(problems...))
	}
	return &c, nil
}

func keysOf(n yaml.Node) []string {
	var keys []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		keys = append(keys, n.Content[i].Value)
	}
	return keys
}

// periods reads windows of a day; one past midnight (22:00-06:00) becomes two.
func periods(list []string) ([]calendar.Period, error) {
	var out []calendar.Period
	for _, s := range list {
		from, to, _ := strings.Cut(s, "-")
		a, errA := calendar.ParseMinute(from)
		b, errB := calendar.ParseMinute(to)
		if errA != nil || errB != nil {
			return nil, fmt.Errorf("window %q: write it as 11:00-13:00", s)
		}
		if b > a {
			out = append(out, calendar.Period{From: a, To: b})
			continue
		}
		out = append(out, calendar.Period{From: a, To: 24 * 60}, calendar.Period{From: 0, To: b})
	}
	return out, nil
}

// check holds a kind to what the program and the texts know.
func (k *kind) check(book *wording.Book) []error {
	var list []error
	bad := func(format string, args ...any) {
		list = append(list, fmt.Errorf("%s: %s", k.Code, fmt.Sprintf(format, args...)))
	}
	if k.Name == "" {
		bad("has no name")
	}
	oneOf := func(field, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			bad("%s is %q; write one of %v", field, value, allowed)
		}
	}
	oneOf("topics", k.Topics, "outage", "operation", "weather", "any")
	oneOf("approve", k.Approve, "notice", "emergency", inherit)
	oneOf("quiet", k.Quiet, "respect", "ignore", inherit)
	oneOf("starts", k.Starts, "", "now")
	oneOf("contact", k.Contact, "hotline", "service", inherit)
	if !slices.Contains(ledger.Classes(), k.Class) {
		bad("class %q is none of the ledger's", k.Class)
	}
	if k.Lane != inherit && !slices.Contains(ledger.Lanes(), k.Lane) {
		bad("lane %q is none of the ledger's", k.Lane)
	}
	if k.OptOut == "" {
		bad("opt_out is missing; write ignore, inherit or a class")
	}
	for _, f := range k.Required {
		if !slices.Contains(fields, f) {
			bad("requires %q, which is no field", f)
		}
	}
	for _, c := range k.Channels {
		oneOf("channels", c, ledger.ChannelSMS, ledger.ChannelTemplate)
	}
	if len(k.Channels) == 0 && !k.Answer {
		bad("has no channels")
	}
	if k.SMSNeeded && !slices.Contains(k.Channels, ledger.ChannelSMS) {
		bad("requires SMS and does not take it by default")
	}
	if k.ValidFor <= 0 {
		bad("valid_for is missing")
	}
	if k.Remind > 0 && (k.RemindSMS == "" || k.RemindTmpl == "") {
		bad("reminds without texts for it")
	}
	for _, p := range []string{k.SMS, k.SMSOpen, k.RemindSMS} {
		if _, ok := book.SMSTemplateOf(p); p != "" && !ok {
			bad("sms %s is not in the catalogue", p)
		}
	}
	for _, p := range []string{k.Template, k.TemplOpen, k.RemindTmpl} {
		if _, ok := book.MessageTemplateOf(p); p != "" && !ok {
			bad("template %s is not in the catalogue", p)
		}
	}
	if k.SMS == "" || k.Template == "" {
		bad("lacks sms or template")
	}
	return list
}

// listWords joins prefixes and topics to the words that are heard.
func (c *catalogue) listWords() error {
	seen := map[string]heard{}
	var problems []error
	add := func(h heard) {
		if was, ok := seen[h.word]; ok && was != h {
			problems = append(problems, fmt.Errorf("the word %s stands for %s and %s", h.word, was.kind+was.topic, h.kind+h.topic))
		}
		seen[h.word] = h
	}
	for _, code := range c.order {
		k := c.Kinds[code]
		for _, w := range k.Words {
			add(heard{word: w, kind: code})
		}
		for _, p := range k.Prefixes {
			for t, x := range c.Topics {
				for _, w := range x.Words {
					add(heard{word: p + w, kind: code, topic: t})
					add(heard{word: p + "性" + w, kind: code, topic: t})
				}
			}
		}
	}
	for t, x := range c.Topics {
		for _, w := range x.Words {
			add(heard{word: w, kind: "planned_outage", topic: t})
		}
	}
	for t, x := range c.Operations {
		for _, w := range x.Words {
			add(heard{word: w, kind: "operation", topic: t})
		}
	}
	for _, w := range c.Weather.Words {
		add(heard{word: w, kind: "severe_weather", weather: true})
	}
	c.words = slices.SortedFunc(maps.Values(seen), func(a, b heard) int {
		if d := len(b.word) - len(a.word); d != 0 {
			return d
		}
		return strings.Compare(a.word, b.word)
	})
	return errors.Join(problems...)
}

// topicOf finds a topic among what may stop and what may be done.
func (c *catalogue) topicOf(code string) (topic, bool) {
	if t, ok := c.Topics[code]; ok {
		return t, true
	}
	t, ok := c.Operations[code]
	return t, ok
}

// names lists what a sender may choose, for people.
func (c *catalogue) names() string {
	var list []string
	for _, code := range c.order {
		list = append(list, c.Kinds[code].Name)
	}
	return strings.Join(list, "、")
}

// told tells whether a home knows after a call with this outcome.
func (c *catalogue) told(outcome string) bool { return slices.Contains(c.Told, outcome) }

// KindInfo describes a kind for forms and help.
type KindInfo struct {
	Code      string   `json:"code"`
	Name      string   `json:"name"`
	Topics    []Choice `json:"topics"`
	Answer    bool     `json:"answer"` // needs the notice that it answers
	Emergency bool     `json:"emergency"`
	Channels  []string `json:"channels"`
	Required  []string `json:"required"`
}

// Choice is a code with its Chinese word.
type Choice struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Kinds lists the kinds in the order of the file.
func (n *Notices) Kinds() []KindInfo {
	var list []KindInfo
	for _, code := range n.kinds.order {
		k := n.kinds.Kinds[code]
		info := KindInfo{Code: code, Name: k.Name, Answer: k.Answer, Emergency: k.Approve == "emergency", Channels: k.Channels, Required: k.Required}
		of := map[string]topic{}
		switch k.Topics {
		case "outage":
			of = n.kinds.Topics
		case "operation":
			of = n.kinds.Operations
		}
		for _, t := range slices.Sorted(maps.Keys(of)) {
			info.Topics = append(info.Topics, Choice{t, of[t].What})
		}
		list = append(list, info)
	}
	return list
}

// Outcomes lists what may come of a call, in the order of the file.
func (n *Notices) Outcomes() []Choice {
	var list []Choice
	for _, code := range n.kinds.outcomeOrder {
		list = append(list, Choice{code, n.kinds.Outcomes[code]})
	}
	return list
}
