package simwecom

import (
	"net/url"
	"regexp"
	"unicode/utf8"
)

// templateCard is a 模板卡片 as bots, webhooks and apps send it.
type templateCard struct {
	CardType      string        `json:"card_type"`
	Source        *cardSource   `json:"source"`
	ActionMenu    *actionMenu   `json:"action_menu"`
	TaskID        string        `json:"task_id"`
	MainTitle     *cardTitle    `json:"main_title"`
	EmphasisTitle *cardTitle    `json:"emphasis_content"`
	QuoteArea     *quoteArea    `json:"quote_area"`
	SubTitle      string        `json:"sub_title_text"`
	Rows          []horizontal  `json:"horizontal_content_list"`
	Vertical      []cardTitle   `json:"vertical_content_list"`
	Jumps         []jump        `json:"jump_list"`
	Action        *cardAction   `json:"card_action"`
	Image         *cardImage    `json:"card_image"`
	ImageText     *cardImage    `json:"image_text_area"`
	Selection     *selection    `json:"button_selection"`
	Buttons       []button      `json:"button_list"`
	Checkbox      *checkbox     `json:"checkbox"`
	Selects       []selection   `json:"select_list"`
	Submit        *submitButton `json:"submit_button"`
	ReplaceText   string        `json:"replace_text"`
}

type cardSource struct {
	IconURL   string `json:"icon_url"`
	Desc      string `json:"desc"`
	DescColor int    `json:"desc_color"`
}

type actionMenu struct {
	Desc string `json:"desc"`
	List []struct {
		Text string `json:"text"`
		Key  string `json:"key"`
	} `json:"action_list"`
}

type cardTitle struct {
	Title string `json:"title"`
	Desc  string `json:"desc"`
}

type quoteArea struct {
	Type  int    `json:"type"`
	URL   string `json:"url"`
	Title string `json:"title"`
	Text  string `json:"quote_text"`
}

type horizontal struct {
	Type    int    `json:"type"`
	Key     string `json:"keyname"`
	Value   string `json:"value"`
	URL     string `json:"url"`
	MediaID string `json:"media_id"`
	UserID  string `json:"userid"`
}

type jump struct {
	Type     int    `json:"type"`
	Title    string `json:"title"`
	URL      string `json:"url"`
	AppID    string `json:"appid"`
	Question string `json:"question"`
}

type cardAction struct {
	Type  int    `json:"type"`
	URL   string `json:"url"`
	AppID string `json:"appid"`
}

type cardImage struct {
	Type     int    `json:"type"`
	URL      string `json:"url"`
	Title    string `json:"title"`
	Desc     string `json:"desc"`
	ImageURL string `json:"image_url"`
}

type selection struct {
	QuestionKey string   `json:"question_key"`
	Title       string   `json:"title"`
	Disable     bool     `json:"disable"`
	SelectedID  string   `json:"selected_id"`
	Options     []option `json:"option_list"`
}

type option struct {
	ID        string `json:"id"`
	Text      string `json:"text"`
	IsChecked bool   `json:"is_checked"`
}

type button struct {
	Text  string `json:"text"`
	Style int    `json:"style"`
	Key   string `json:"key"`
	Type  int    `json:"type"`
	URL   string `json:"url"`
}

type checkbox struct {
	QuestionKey string   `json:"question_key"`
	Mode        int      `json:"mode"`
	Disable     bool     `json:"disable"`
	Options     []option `json:"option_list"`
}

type submitButton struct {
	Text string `json:"text"`
	Key  string `json:"key"`
}

var taskIDForm = regexp.MustCompile(`^[0-9A-Za-z_\-@]{1,128}$`)

// sender is who sends a card; what is allowed differs.
type sender int

const (
	byBot sender = iota
	byWebhook
	byApp
)

// interactive types need a task_id and can be clicked.
var interactive = map[string]bool{"button_interaction": true, "vote_interaction": true, "multiple_interaction": true}

// check says what the vendor would refuse, or nil. Lengths in characters are the
// vendor's "about" values: beyond them a phone cuts the words off, so they are
// refused here to be noticed.
func (c *templateCard) check(by sender) *refusal {
	if c == nil {
		return refuse(codeBadParam, "template_card missing")
	}
	switch c.CardType {
	case "text_notice", "news_notice":
		if c.Action == nil || !c.Action.valid() {
			return refuse(codeNoCardAction, "%s", errmsg(codeNoCardAction))
		}
	case "button_interaction", "vote_interaction", "multiple_interaction":
		if by == byWebhook {
			return refuse(codeBadParam, "template_card.card_type %s not allowed for webhook", c.CardType)
		}
		if c.Action != nil && c.Action.Type != 0 && !c.Action.valid() {
			return refuse(codeNoCardAction, "%s", errmsg(codeNoCardAction))
		}
	default:
		return refuse(codeBadParam, "template_card.card_type invalid")
	}
	needsID := interactive[c.CardType] || c.ActionMenu != nil
	if needsID && c.TaskID == "" {
		return refuse(codeBadParam, "template_card.task_id missing")
	}
	if c.TaskID != "" && !taskIDForm.MatchString(c.TaskID) {
		return refuse(codeBadParam, "template_card.task_id invalid")
	}
	if r := c.checkTexts(); r != nil {
		return r
	}
	if r := c.checkLists(); r != nil {
		return r
	}
	return c.checkInteraction()
}

func (a *cardAction) valid() bool {
	switch a.Type {
	case 1:
		return webURL(a.URL)
	case 2:
		return a.AppID != ""
	}
	return false
}

func (c *templateCard) checkTexts() *refusal {
	limits := []textLimit{{"sub_title_text", c.SubTitle, 112}}
	if c.Source != nil {
		limits = append(limits, textLimit{"source.desc", c.Source.Desc, 13})
	}
	if c.MainTitle != nil {
		limits = append(limits, textLimit{"main_title.title", c.MainTitle.Title, 26}, textLimit{"main_title.desc", c.MainTitle.Desc, 30})
	}
	if c.EmphasisTitle != nil {
		limits = append(limits, textLimit{"emphasis_content.title", c.EmphasisTitle.Title, 10}, textLimit{"emphasis_content.desc", c.EmphasisTitle.Desc, 15})
	}
	if c.MainTitle == nil || c.MainTitle.Title == "" {
		if interactive[c.CardType] || c.CardType == "news_notice" {
			return refuse(codeBadParam, "template_card.main_title.title missing")
		}
		if c.SubTitle == "" && (c.MainTitle == nil || c.MainTitle.Desc == "") {
			return refuse(codeBadParam, "template_card.main_title.title and sub_title_text both missing")
		}
	}
	return checkTexts(limits)
}

type textLimit struct {
	field string
	text  string
	max   int // characters
}

func checkTexts(limits []textLimit) *refusal {
	for _, l := range limits {
		if !utf8.ValidString(l.text) {
			return refuse(codeBadParam, "template_card.%s isn't UTF-8", l.field)
		}
		if n := utf8.RuneCountInString(l.text); n > l.max {
			return refuse(codeBadParam, "template_card.%s has %d characters, at most %d", l.field, n, l.max)
		}
	}
	return nil
}

func (c *templateCard) checkLists() *refusal {
	switch {
	case len(c.Rows) > 6:
		return refuse(codeBadParam, "template_card.horizontal_content_list has %d items, at most 6", len(c.Rows))
	case len(c.Vertical) > 4:
		return refuse(codeBadParam, "template_card.vertical_content_list has %d items, at most 4", len(c.Vertical))
	case len(c.Jumps) > 3:
		return refuse(codeBadParam, "template_card.jump_list has %d items, at most 3", len(c.Jumps))
	case c.ActionMenu != nil && (len(c.ActionMenu.List) < 1 || len(c.ActionMenu.List) > 3):
		return refuse(codeBadParam, "template_card.action_menu.action_list needs 1 to 3 items")
	case c.CardType == "news_notice" && c.Image == nil && c.ImageText == nil:
		return refuse(codeBadParam, "template_card.card_image missing")
	}
	for _, r := range c.Rows {
		if r.Key == "" {
			return refuse(codeBadParam, "template_card.horizontal_content_list.keyname missing")
		}
		if bad := checkTexts([]textLimit{{"horizontal_content_list.keyname", r.Key, 5}, {"horizontal_content_list.value", r.Value, 26}}); bad != nil {
			return bad
		}
		if r.Type == 1 && !webURL(r.URL) {
			return refuse(codeBadParam, "template_card.horizontal_content_list.url invalid")
		}
		if r.Type == 2 && r.MediaID == "" {
			return refuse(codeBadParam, "template_card.horizontal_content_list.media_id missing")
		}
		if r.Type == 3 && r.UserID == "" {
			return refuse(codeBadParam, "template_card.horizontal_content_list.userid missing")
		}
	}
	for _, v := range c.Vertical {
		if bad := checkTexts([]textLimit{{"vertical_content_list.title", v.Title, 26}, {"vertical_content_list.desc", v.Desc, 112}}); bad != nil {
			return bad
		}
	}
	for _, j := range c.Jumps {
		if bad := checkTexts([]textLimit{{"jump_list.title", j.Title, 13}}); bad != nil {
			return bad
		}
		switch {
		case j.Title == "":
			return refuse(codeBadParam, "template_card.jump_list.title missing")
		case j.Type == 1 && !webURL(j.URL):
			return refuse(codeBadParam, "template_card.jump_list.url invalid")
		case j.Type == 2 && j.AppID == "":
			return refuse(codeBadParam, "template_card.jump_list.appid missing")
		case j.Type == 3 && (j.Question == "" || len(j.Question) > 200):
			return refuse(codeBadParam, "template_card.jump_list.question needs 1 to 200 bytes")
		}
	}
	return nil
}

func (c *templateCard) checkInteraction() *refusal {
	switch c.CardType {
	case "button_interaction":
		if len(c.Buttons) < 1 || len(c.Buttons) > 6 {
			return refuse(codeBadParam, "template_card.button_list needs 1 to 6 items")
		}
		if c.Selection != nil {
			if bad := c.Selection.check("button_selection", 10); bad != nil {
				return bad
			}
		}
		return checkButtons(c.Buttons)
	case "vote_interaction":
		if c.Checkbox == nil {
			return refuse(codeBadParam, "template_card.checkbox missing")
		}
		if bad := c.Checkbox.check(); bad != nil {
			return bad
		}
		return c.Submit.check()
	case "multiple_interaction":
		if len(c.Selects) < 1 || len(c.Selects) > 3 {
			return refuse(codeBadParam, "template_card.select_list needs 1 to 3 items")
		}
		keys := map[string]bool{}
		for i := range c.Selects {
			if bad := c.Selects[i].check("select_list", 10); bad != nil {
				return bad
			}
			if keys[c.Selects[i].QuestionKey] {
				return refuse(codeBadParam, "template_card.select_list.question_key not unique")
			}
			keys[c.Selects[i].QuestionKey] = true
		}
		return c.Submit.check()
	}
	return nil
}

func checkButtons(list []button) *refusal {
	keys := map[string]bool{}
	for _, b := range list {
		if bad := checkTexts([]textLimit{{"button_list.text", b.Text, 10}}); bad != nil {
			return bad
		}
		switch {
		case b.Text == "":
			return refuse(codeBadParam, "template_card.button_list.text missing")
		case b.Type == 1:
			if !webURL(b.URL) {
				return refuse(codeBadParam, "template_card.button_list.url invalid")
			}
		case b.Key == "" || len(b.Key) > 1024:
			return refuse(codeBadParam, "template_card.button_list.key needs 1 to 1024 bytes")
		case keys[b.Key]:
			return refuse(codeBadParam, "template_card.button_list.key not unique")
		case b.Style < 0 || b.Style > 4:
			return refuse(codeBadParam, "template_card.button_list.style needs 1 to 4")
		}
		keys[b.Key] = true
	}
	return nil
}

func (s *selection) check(field string, most int) *refusal {
	if s.QuestionKey == "" || len(s.QuestionKey) > 1024 {
		return refuse(codeBadParam, "template_card.%s.question_key needs 1 to 1024 bytes", field)
	}
	if bad := checkTexts([]textLimit{{field + ".title", s.Title, 13}}); bad != nil {
		return bad
	}
	return checkOptions(field, s.Options, most, 10)
}

func (b *checkbox) check() *refusal {
	if b.QuestionKey == "" || len(b.QuestionKey) > 1024 {
		return refuse(codeBadParam, "template_card.checkbox.question_key needs 1 to 1024 bytes")
	}
	if b.Mode != 0 && b.Mode != 1 {
		return refuse(codeBadParam, "template_card.checkbox.mode needs 0 or 1")
	}
	return checkOptions("checkbox", b.Options, 20, 11)
}

func checkOptions(field string, list []option, most, chars int) *refusal {
	if len(list) < 1 || len(list) > most {
		return refuse(codeBadParam, "template_card.%s.option_list needs 1 to %d items", field, most)
	}
	ids := map[string]bool{}
	for _, o := range list {
		switch {
		case o.ID == "" || len(o.ID) > 128:
			return refuse(codeBadParam, "template_card.%s.option_list.id needs 1 to 128 bytes", field)
		case ids[o.ID]:
			return refuse(codeBadParam, "template_card.%s.option_list.id not unique", field)
		case o.Text == "":
			return refuse(codeBadParam, "template_card.%s.option_list.text missing", field)
		}
		if bad := checkTexts([]textLimit{{field + ".option_list.text", o.Text, chars}}); bad != nil {
			return bad
		}
		ids[o.ID] = true
	}
	return nil
}

func (s *submitButton) check() *refusal {
	if s == nil || s.Text == "" || s.Key == "" || len(s.Key) > 1024 {
		return refuse(codeBadParam, "template_card.submit_button missing or invalid")
	}
	return checkTexts([]textLimit{{"submit_button.text", s.Text, 10}})
}

func webURL(s string) bool {
	if len(s) > 2048 {
		return false
	}
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// draw turns the vendor's form into what a member sees.
func (c *templateCard) draw() *Card {
	out := &Card{
		TaskID: c.TaskID, CardType: c.CardType, SubTitle: c.SubTitle,
		Rows: []CardRow{}, Buttons: []CardButton{}, Selects: []CardSelect{}, Links: []CardLink{},
	}
	if c.Source != nil {
		out.Source = c.Source.Desc
	}
	if c.MainTitle != nil {
		out.Title, out.Desc = c.MainTitle.Title, c.MainTitle.Desc
	}
	if c.QuoteArea != nil {
		out.Quote = c.QuoteArea.Text
		if c.QuoteArea.Title != "" {
			out.Quote = c.QuoteArea.Title + ": " + out.Quote
		}
	}
	if c.EmphasisTitle != nil {
		out.Rows = append(out.Rows, CardRow{Key: c.EmphasisTitle.Desc, Value: c.EmphasisTitle.Title})
	}
	for _, r := range c.Rows {
		out.Rows = append(out.Rows, CardRow{Key: r.Key, Value: r.Value, URL: r.URL})
	}
	for _, v := range c.Vertical {
		out.Rows = append(out.Rows, CardRow{Key: v.Title, Value: v.Desc})
	}
	for _, b := range c.Buttons {
		if b.Type == 1 {
			out.Links = append(out.Links, CardLink{Text: b.Text, URL: b.URL})
			continue
		}
		out.Buttons = append(out.Buttons, CardButton{Key: b.Key, Text: b.Text, Style: b.Style})
	}
	if c.Selection != nil {
		out.Selects = append(out.Selects, c.Selection.draw())
	}
	for i := range c.Selects {
		out.Selects = append(out.Selects, c.Selects[i].draw())
	}
	if c.Checkbox != nil {
		s := CardSelect{Key: c.Checkbox.QuestionKey, Multiple: c.Checkbox.Mode == 1, Disabled: c.Checkbox.Disable, Options: []CardOption{}}
		for _, o := range c.Checkbox.Options {
			s.Options = append(s.Options, CardOption{ID: o.ID, Text: o.Text})
		}
		out.Selects = append(out.Selects, s)
	}
	if c.Submit != nil {
		out.Buttons = append(out.Buttons, CardButton{Key: c.Submit.Key, Text: c.Submit.Text, Style: 1})
	}
	if c.ActionMenu != nil {
		for _, a := range c.ActionMenu.List {
			out.Buttons = append(out.Buttons, CardButton{Key: a.Key, Text: a.Text, Style: 2})
		}
	}
	for _, j := range c.Jumps {
		l := CardLink{Text: j.Title, URL: j.URL}
		if j.Type != 1 {
			l.URL = ""
		}
		out.Links = append(out.Links, l)
	}
	if c.Action != nil && c.Action.Type == 1 {
		out.Links = append(out.Links, CardLink{Text: "查看详情", URL: c.Action.URL})
	}
	return out
}

func (s *selection) draw() CardSelect {
	out := CardSelect{Key: s.QuestionKey, Title: s.Title, Disabled: s.Disable, Selected: s.SelectedID, Options: []CardOption{}}
	for _, o := range s.Options {
		out.Options = append(out.Options, CardOption{ID: o.ID, Text: o.Text})
	}
	return out
}

// button finds what a click with this key presses.
func (c *Card) button(key string) bool {
	if c == nil {
		return false
	}
	for _, b := range c.Buttons {
		if b.Key == key {
			return true
		}
	}
	return false
}
