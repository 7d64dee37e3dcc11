package simwecom

import "time"

// feedLimit is how many items a chat keeps.
const feedLimit = 5000

// Item is one line of a chat as its members see it.
type Item struct {
	Seq  int64     `json:"seq"`
	Rev  int       `json:"rev"` // 1, and one more for every change in place
	At   time.Time `json:"at"`
	From From      `json:"from"`
	// Type is text, markdown, card, image, file, voice, video, news or textcard.
	Type     string   `json:"type"`
	Text     string   `json:"text"`
	Mentions []string `json:"mentions"`
	Card     *Card    `json:"card,omitempty"`
	// Views are cards that only these members see (an update with userids).
	Views map[string]*Card `json:"views,omitempty"`
	// Quote is the beginning of what the speaker quoted.
	Quote string `json:"quote,omitempty"`
	// ImageURL is an address of the simulator, for the page.
	ImageURL string `json:"image_url,omitempty"`
	// Recalled: taken back by the app that sent it.
	Recalled bool `json:"recalled,omitempty"`

	raw    *templateCard // what Card was drawn from
	botID  string
	stream string
	media  string
	origin string // msgid of an app message
}

// From tells who speaks: bot, webhook, app or member.
type From struct {
	Kind   string `json:"kind"`
	UserID string `json:"userid"`
	// ID is the bot_id, the webhook's chat or the corp.
	ID string `json:"id,omitempty"`
}

// Card is a template card as a member sees it.
type Card struct {
	TaskID   string       `json:"task_id"`
	CardType string       `json:"card_type"`
	Source   string       `json:"source,omitempty"`
	Title    string       `json:"title"`
	Desc     string       `json:"desc"`
	Quote    string       `json:"quote,omitempty"`
	SubTitle string       `json:"sub_title,omitempty"`
	Rows     []CardRow    `json:"rows"`
	Buttons  []CardButton `json:"buttons"`
	Selects  []CardSelect `json:"selects"`
	Links    []CardLink   `json:"links"`
}

// CardRow is one line of key and value.
type CardRow struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	URL   string `json:"url,omitempty"`
}

// CardButton can be clicked.
type CardButton struct {
	Key   string `json:"key"`
	Text  string `json:"text"`
	Style int    `json:"style,omitempty"`
}

// CardSelect is a drop-down or a set of boxes.
type CardSelect struct {
	Key      string       `json:"key"`
	Title    string       `json:"title,omitempty"`
	Multiple bool         `json:"multiple,omitempty"`
	Disabled bool         `json:"disabled,omitempty"`
	Selected string       `json:"selected,omitempty"`
	Options  []CardOption `json:"options"`
}

// CardOption is one choice of a select.
type CardOption struct {
	ID   string `json:"id"`
	Text string `json:"text"`
}

// CardLink leads to a page.
type CardLink struct {
	Text string `json:"text"`
	URL  string `json:"url"`
}
