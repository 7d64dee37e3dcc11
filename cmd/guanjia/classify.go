package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"guanjia/bot/intent"
	"guanjia/bot/intent/training"
)

type classifyCmd struct {
	Report  string `help:"Labelled messages (JSON lines, or a .tsv of the corpus): print what is right and wrong about them instead." type:"path" placeholder:"FILE"`
	Lexicon string `help:"Directory with a company's own words and patterns; see docs/understanding.md." type:"path" placeholder:"DIR"`
	Weights string `help:"Weights file instead of the built-in one." type:"path" placeholder:"FILE"`
}

type classifyIn struct {
	ID      string   `json:"id"`
	Text    string   `json:"text"`
	History []string `json:"history"`
}

type classifyOut struct {
	ID         string        `json:"id"`
	Intent     string        `json:"intent"`
	Category   *string       `json:"category"`
	Emergency  bool          `json:"emergency"`
	Topic      *string       `json:"topic"`
	Confidence float64       `json:"confidence"`
	Slots      classifySlots `json:"slots"`
}

type classifySlots struct {
	Building *string `json:"building"`
	Entrance *string `json:"entrance"`
	Room     *string `json:"room"`
	Phone    *string `json:"phone"`
	CaseNo   *string `json:"case_no"`
	Rating   *int    `json:"rating"`
}

// maxLine is the longest line taken, in bytes: a message of 100,000 characters with room to spare.
const maxLine = 4 << 20

func (c *classifyCmd) Run(_ *cli, o out, _ runContext) error {
	opts := lexiconOption(c.Lexicon)
	if c.Weights != "" {
		file, err := os.ReadFile(c.Weights)
		if err != nil {
			return fmt.Errorf("read the weights: %w", err)
		}
		opts = append(opts, intent.WithWeights(file))
	}
	classifier, err := intent.New(opts...)
	if err != nil {
		return err
	}
	if c.Report != "" {
		return report(o, classifier, c.Report)
	}
	in := bufio.NewScanner(o.stdin)
	in.Buffer(make([]byte, 64<<10), maxLine)
	w := bufio.NewWriter(o.stdout)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for n := 1; in.Scan(); n++ {
		if len(in.Bytes()) == 0 {
			continue
		}
		var row classifyIn
		if err := json.Unmarshal(in.Bytes(), &row); err != nil {
			return fmt.Errorf("line %d is not {\"id\",\"text\",\"history\"}: %w", n, err)
		}
		if err := enc.Encode(reading(row.ID, classifier.Classify(intent.Input{Text: row.Text, History: row.History}))); err != nil {
			return fmt.Errorf("print line %d: %w", n, err)
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("read stdin: %w", err)
	}
	return w.Flush()
}

// report prints the tables of docs/understanding.md for a labelled file.
func report(o out, classifier *intent.Classifier, name string) error {
	raw, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read the labelled messages: %w", err)
	}
	examples, err := training.ReadLabelled(name, raw)
	if err != nil {
		return fmt.Errorf("%s %w", name, err)
	}
	training.Print(o.stdout, training.Classify(classifier, examples))
	return nil
}

func reading(id string, r intent.Result) classifyOut {
	o := classifyOut{ID: id, Intent: r.Intent, Category: said(r.Category), Emergency: r.Emergency, Topic: said(r.Topic), Confidence: r.Confidence,
		Slots: classifySlots{Building: said(r.Slots.Building), Entrance: said(r.Slots.Entrance), Room: said(r.Slots.Room), Phone: said(r.Slots.Phone), CaseNo: said(r.Slots.CaseNo)}}
	if r.Slots.Rating != 0 {
		o.Slots.Rating = &r.Slots.Rating
	}
	return o
}

func said(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
