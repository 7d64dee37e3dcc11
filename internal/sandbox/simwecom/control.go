package simwecom

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"guanjia/internal/sandbox/simcore"
)

// controlRoutes adds the /sim/ calls. Beyond the common ones there are:
// PUT /sim/groups/{chatid} {"name","members","bots"} (who is in a group; bots that
// are taken out get 93008), POST /sim/staff/{userid}/enter (opens the 1:1 chat),
// POST /sim/staff/{userid}/oauth (the code an H5 page would get), and
// GET, PUT /sim/wecom {"cipher_userids","quote_cards"} for what differs between
// tenants.
func (s *Sim) controlRoutes(r chi.Router) {
	r.Get("/sim/groups", s.listGroups)
	r.Post("/sim/groups", s.createGroup)
	r.Put("/sim/groups/{chatid}", s.changeGroup)
	r.Post("/sim/groups/{chatid}/messages", s.inGroup(s.speak))
	r.Post("/sim/groups/{chatid}/clicks", s.inGroup(s.press))
	r.Get("/sim/groups/{chatid}/chat", s.inGroup(s.showChat))
	r.Post("/sim/staff/{userid}/messages", s.inSingle(s.speak))
	r.Post("/sim/staff/{userid}/clicks", s.inSingle(s.press))
	r.Get("/sim/staff/{userid}/chat", s.inSingle(s.showChat))
	r.Post("/sim/staff/{userid}/enter", s.inSingle(s.enter))
	r.Post("/sim/staff/{userid}/oauth", s.inSingle(s.oauthCode))
	r.Get("/sim/wecom/media/{id}", s.servePage)
	r.Put("/sim/wecom", s.configure)
	r.Get("/sim/wecom", s.showStatus)
	r.Get("/openws.work.weixin.qq.com/media/{id}", s.serveLink)
}

type chatHandler func(w http.ResponseWriter, r *http.Request, c *chat)

func (s *Sim) inGroup(h chatHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		c := s.chats[chi.URLParam(r, "chatid")]
		s.mu.Unlock()
		if c == nil {
			simcore.NotFound(w, "group")
			return
		}
		h(w, r, c)
	}
}

func (s *Sim) inSingle(h chatHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		c := s.singles[chi.URLParam(r, "userid")]
		s.mu.Unlock()
		if c == nil {
			simcore.NotFound(w, "staff member")
			return
		}
		h(w, r, c)
	}
}

// groupView is one element of GET /sim/groups.
type groupView struct {
	ChatID  string   `json:"chatid"`
	Name    string   `json:"name"`
	Members []string `json:"members"`
	Spoken  bool     `json:"spoken"`
}

func (c *chat) view() groupView {
	return groupView{ChatID: c.id, Name: c.name, Members: append([]string{}, c.members...), Spoken: len(c.spoken) > 0}
}

func (s *Sim) listGroups(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	out := make([]groupView, 0, len(s.groups))
	for _, c := range s.groups {
		out = append(out, c.view())
	}
	s.mu.Unlock()
	simcore.WriteJSON(w, http.StatusOK, map[string]any{"groups": out, "next_cursor": ""})
}

func (s *Sim) createGroup(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Name    string   `json:"name"`
		Members []string `json:"members"`
		Bots    []string `json:"bots"`
	}
	if !simcore.ReadJSON(w, r, &in) {
		return
	}
	if in.Name == "" {
		simcore.WriteError(w, http.StatusBadRequest, "bad_request", "a group needs a name", "name")
		return
	}
	s.mu.Lock()
	if u, ok := s.stranger(in.Members); ok {
		s.mu.Unlock()
		simcore.WriteError(w, http.StatusBadRequest, "bad_request", fmt.Sprintf("nobody is called %q", u), "members")
		return
	}
	v := s.addGroup(simcore.Group{ChatID: newChatID(), Name: in.Name, Members: in.Members, Bots: in.Bots}).view()
	s.mu.Unlock()
	simcore.WriteJSON(w, http.StatusCreated, map[string]any{
		"chatid": v.ChatID, "name": v.Name, "members": v.Members, "groups": []groupView{v},
	})
}

// changeGroup renames a group, changes who is in it, or takes bots in and out.
func (s *Sim) changeGroup(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Name    *string   `json:"name"`
		Members *[]string `json:"members"`
		Bots    *[]string `json:"bots"`
	}
	if !simcore.ReadJSON(w, r, &in) {
		return
	}
	s.mu.Lock()
	c := s.chats[chi.URLParam(r, "chatid")]
	if c == nil {
		s.mu.Unlock()
		simcore.NotFound(w, "group")
		return
	}
	if in.Members != nil {
		if u, ok := s.stranger(*in.Members); ok {
			s.mu.Unlock()
			simcore.WriteError(w, http.StatusBadRequest, "bad_request", fmt.Sprintf("nobody is called %q", u), "members")
			return
		}
		c.members = slices.Clone(*in.Members)
	}
	if in.Name != nil {
		c.name = *in.Name
	}
	if in.Bots != nil {
		c.bots = slices.Clone(*in.Bots)
		if len(c.bots) == 0 {
			c.bots = []string{""} // none, where an absent list means all
		}
	}
	v := c.view()
	s.mu.Unlock()
	simcore.WriteJSON(w, http.StatusOK, map[string]any{"chatid": v.ChatID, "name": v.Name, "members": v.Members})
}

// stranger finds a userid nobody has; s.mu is held.
func (s *Sim) stranger(ids []string) (string, bool) {
	for _, id := range ids {
		if s.singles[id] == nil {
			return id, true
		}
	}
	return "", false
}

func (s *Sim) showChat(w http.ResponseWriter, r *http.Request, c *chat) {
	simcore.ServeFeed(w, r, c.feed, nil)
}

// configure sets what differs between tenants.
func (s *Sim) configure(w http.ResponseWriter, r *http.Request) {
	var in struct {
		CipherUserIDs *bool `json:"cipher_userids"`
		QuoteCards    *bool `json:"quote_cards"`
	}
	if !simcore.ReadJSON(w, r, &in) {
		return
	}
	s.mu.Lock()
	if in.CipherUserIDs != nil {
		s.cipher = *in.CipherUserIDs
	}
	if in.QuoteCards != nil {
		s.cards = *in.QuoteCards
	}
	s.mu.Unlock()
	s.showStatus(w, r)
}

func (s *Sim) showStatus(w http.ResponseWriter, _ *http.Request) {
	type line struct {
		BotID     string `json:"bot_id"`
		Connected bool   `json:"connected"`
	}
	s.mu.Lock()
	bots := make([]line, 0, len(s.bots))
	for _, b := range s.bots {
		bots = append(bots, line{b.BotID, b.conn != nil})
	}
	out := map[string]any{"cipher_userids": s.cipher, "quote_cards": s.cards, "bots": bots}
	s.mu.Unlock()
	simcore.WriteJSON(w, http.StatusOK, out)
}

// said is the body of a message that a member sends.
type said struct {
	From     string `json:"from"`
	Text     string `json:"text"`
	QuoteSeq int64  `json:"quote_seq"`
	Image    image  `json:"image"`
	Voice    string `json:"voice"`  // transcript, 1:1 only
	BotID    string `json:"bot_id"` // 1:1 only; absent: the first bot
}

// image is base64, alone or as {"name","base64"}.
type image struct {
	name string
	data []byte
}

// UnmarshalJSON takes either form, a data: URL too.
func (i *image) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) != nil {
		var v struct {
			Name   string `json:"name"`
			Base64 string `json:"base64"`
		}
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
		i.name, text = v.Name, v.Base64
	}
	if text == "" {
		return nil
	}
	if strings.HasPrefix(text, "data:") {
		_, text, _ = strings.Cut(text, ",")
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return &simcore.BadInput{Field: "image", Message: "isn't base64"}
	}
	if len(data) > mediaSizes["image"] {
		return &simcore.BadInput{Field: "image", Message: "is larger than 10 MiB"}
	}
	i.data = data
	if i.name == "" {
		i.name = "image.jpg"
	}
	return nil
}

// speak lets a member say something. Bots hear it only where they are addressed by
// name, in a 1:1 chat always. A bot without a connection is waited for five seconds;
// "heard" says whether the words reached one.
func (s *Sim) speak(w http.ResponseWriter, r *http.Request, c *chat) {
	var in said
	if !simcore.ReadJSON(w, r, &in) {
		return
	}
	if c.single {
		in.From = c.id
	}
	s.mu.Lock()
	err := s.checkSaid(c, in)
	if err != nil {
		s.mu.Unlock()
		writeBad(w, err)
		return
	}
	quoted, hasQuote := Item{}, false
	if in.QuoteSeq != 0 {
		if quoted, hasQuote = c.feed.Get(in.QuoteSeq); !hasQuote {
			s.mu.Unlock()
			writeBad(w, &simcore.BadInput{Field: "quote_seq", Message: "there is no such message"})
			return
		}
	}
	it := Item{From: From{Kind: "member", UserID: in.From}, Type: "text", Text: in.Text, Mentions: s.namedIn(c, in.Text)}
	if in.Voice != "" {
		it.Type, it.Text = "voice", in.Voice
	}
	var pic *media
	if in.Image.data != nil {
		pic = s.fromMember("image", in.Image.name, in.Image.data)
		it.ImageURL = pic.page()
		if in.Text == "" {
			it.Type = "image"
		}
	}
	if hasQuote {
		it.Quote = beginning(quoted)
	}
	seq := s.post(c, it)
	hears := s.hearers(c, in)
	body := s.messageBody(c, in, pic)
	if q := s.quote(quoted, hasQuote); q != nil {
		body["quote"] = q
	}
	for _, b := range hears {
		c.spoken[b.BotID] = true
	}
	s.mu.Unlock()

	heard := false
	for _, b := range hears {
		if s.tell(r.Context(), b, c, body, pic) {
			heard = true
		}
	}
	simcore.WriteJSON(w, http.StatusOK, map[string]any{"seq": seq, "heard": heard})
}

func writeBad(w http.ResponseWriter, err error) {
	var bad *simcore.BadInput
	if errors.As(err, &bad) {
		simcore.WriteError(w, http.StatusBadRequest, "bad_request", bad.Message, bad.Field)
		return
	}
	simcore.WriteError(w, http.StatusInternalServerError, "internal", err.Error(), "")
}

func (s *Sim) checkSaid(c *chat, in said) error {
	switch {
	case !slices.Contains(c.members, in.From):
		return &simcore.BadInput{Field: "from", Message: "isn't a member of this chat"}
	case in.Text == "" && in.Image.data == nil && in.Voice == "":
		return &simcore.BadInput{Field: "text", Message: "a message needs text or a picture"}
	case len(in.Text) > maxMember || len(in.Voice) > maxMember:
		return &simcore.BadInput{Field: "text", Message: fmt.Sprintf("is longer than %d bytes", maxMember)}
	case !utf8.ValidString(in.Text):
		return &simcore.BadInput{Field: "text", Message: "isn't UTF-8"}
	case in.Voice != "" && !c.single:
		return &simcore.BadInput{Field: "voice", Message: "a bot gets voice only in a 1:1 chat"}
	case in.BotID != "" && s.bot(in.BotID) == nil:
		return &simcore.BadInput{Field: "bot_id", Message: "there is no such bot"}
	}
	return nil
}

// hearers are the bots that a message reaches; s.mu is held.
func (s *Sim) hearers(c *chat, in said) []*bot {
	if c.single {
		if in.BotID != "" {
			return []*bot{s.bot(in.BotID)}
		}
		if len(s.bots) > 0 {
			return s.bots[:1]
		}
		return nil
	}
	if in.Text == "" {
		return nil // a picture alone cannot mention
	}
	var out []*bot
	for _, b := range s.bots {
		if c.has(b.BotID) && s.mentions(in.Text, b) {
			out = append(out, b)
		}
	}
	return out
}

// mentions looks for @name, where no longer bot's name begins with the same words.
func (s *Sim) mentions(text string, b *bot) bool {
	for at := range indexes(text, "@"+b.Name) {
		rest := text[at+1:]
		longer := slices.ContainsFunc(s.bots, func(o *bot) bool {
			return len(o.Name) > len(b.Name) && strings.HasPrefix(o.Name, b.Name) && strings.HasPrefix(rest, o.Name)
		})
		if !longer {
			return true
		}
	}
	return false
}

// indexes yields every place where part begins.
func indexes(text, part string) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for from := 0; ; {
			i := strings.Index(text[from:], part)
			if i < 0 || !yield(from+i) {
				return
			}
			from += i + len(part)
		}
	}
}

// namedIn are the members whose @name is in the text; s.mu is held.
func (s *Sim) namedIn(c *chat, text string) []string {
	out := []string{}
	if !strings.Contains(text, "@") {
		return out
	}
	for _, m := range s.staff {
		if slices.Contains(c.members, m.UserID) && strings.Contains(text, "@"+m.Name) {
			out = append(out, m.UserID)
		}
	}
	return out
}

// messageBody is what a bot gets; s.mu is held. The parts that differ by bot are
// added when it is sent.
func (s *Sim) messageBody(c *chat, in said, pic *media) map[string]any {
	body := map[string]any{
		"msgid": newID(""), "create_time": s.core.Now().Unix(),
		"from": map[string]any{"userid": s.outward(in.From)},
	}
	if c.single {
		body["chattype"] = "single"
	} else {
		body["chattype"] = "group"
		body["chatid"] = c.id
	}
	switch {
	case in.Voice != "":
		body["msgtype"] = "voice"
		body["voice"] = map[string]any{"content": in.Voice}
	case pic != nil && in.Text != "":
		body["msgtype"] = "mixed"
	case pic != nil:
		body["msgtype"] = "image"
	default:
		body["msgtype"] = "text"
	}
	if in.Text != "" {
		body["text"] = map[string]any{"content": in.Text}
	}
	return body
}

// tell sends a message to one bot, waiting a moment if it is just reconnecting.
func (s *Sim) tell(ctx context.Context, b *bot, c *chat, body map[string]any, pic *media) bool {
	if !s.await(ctx, b.BotID, answerWithin) {
		s.core.Counters.Call("wecom.callback", pushOutcome(false))
		return false
	}
	mine := make(map[string]any, len(body)+2)
	for k, v := range body {
		mine[k] = v
	}
	mine["aibotid"] = b.BotID
	if pic != nil {
		s.mu.Lock()
		host := ""
		if b.conn != nil {
			host = b.conn.host
		}
		s.mu.Unlock()
		link := pic.link(host)
		if mine["msgtype"] == "mixed" {
			mine["mixed"] = map[string]any{"msg_item": []any{
				map[string]any{"msgtype": "text", "text": mine["text"]},
				map[string]any{"msgtype": "image", "image": link},
			}}
			delete(mine, "text")
		} else {
			mine["image"] = link
		}
	}
	return s.push(b, "aibot_msg_callback", mine, &ask{kind: askMessage, chat: c, msgID: body["msgid"].(string)})
}

// quote is the content of a quoted message as a bot gets it: no id, no author, no
// time; a card gives none.
func (s *Sim) quote(it Item, ok bool) map[string]any {
	if !ok {
		return nil
	}
	switch it.Type {
	case "card":
		if !s.cards || it.Card == nil {
			return nil
		}
		return map[string]any{"msgtype": "text", "text": map[string]any{"content": it.Card.Title + "\n" + it.Card.Desc}}
	case "text", "markdown", "markdown_v2", "voice":
		return map[string]any{"msgtype": "text", "text": map[string]any{"content": it.Text}}
	case "image", "file", "video":
		return map[string]any{"msgtype": it.Type}
	}
	return nil
}

func beginning(it Item) string {
	text := it.Text
	if text == "" && it.Card != nil {
		text = it.Card.Title
	}
	r := []rune(strings.Join(strings.Fields(text), " "))
	if len(r) > 60 {
		r = append(r[:60], '…')
	}
	return string(r)
}

// pressed is the body of a click.
type pressed struct {
	From     string          `json:"from"`
	Seq      int64           `json:"seq"`
	Key      string          `json:"key"`
	Selected json.RawMessage `json:"selected"`
}

// press lets a member press a button of a bot's card and waits for the new card.
func (s *Sim) press(w http.ResponseWriter, r *http.Request, c *chat) {
	var in pressed
	if !simcore.ReadJSON(w, r, &in) {
		return
	}
	if c.single {
		in.From = c.id
	}
	status, detail := s.click(r.Context(), c, in)
	simcore.WriteJSON(w, http.StatusOK, map[string]any{"status": status, "detail": detail})
}

func (s *Sim) click(ctx context.Context, c *chat, in pressed) (status, detail string) {
	s.mu.Lock()
	it, ok := c.feed.Get(in.Seq)
	b := s.bot(it.botID)
	card := it.Card
	if v := it.Views[in.From]; v != nil {
		card = v
	}
	switch {
	case !slices.Contains(c.members, in.From):
		s.mu.Unlock()
		return "refused", "from isn't a member of this chat"
	case !ok || card == nil || b == nil:
		s.mu.Unlock()
		return "refused", "there is no card of a bot with this seq"
	case !card.button(in.Key):
		s.mu.Unlock()
		return "refused", "the card has no such button"
	}
	chosen, err := choices(card, in.Selected)
	if err != nil {
		s.mu.Unlock()
		return "refused", err.Error()
	}
	body := map[string]any{
		"msgid": newID(""), "create_time": s.core.Now().Unix(), "aibotid": b.BotID,
		"from": map[string]any{"userid": s.outward(in.From)}, "msgtype": "event",
		"event": map[string]any{
			"eventtype": "template_card_event",
			"template_card_event": map[string]any{
				"card_type": card.CardType, "event_key": in.Key, "task_id": card.TaskID,
				"selected_items": map[string]any{"selected_item": chosen},
			},
		},
	}
	if c.single {
		body["chattype"] = "single"
	} else {
		body["chattype"] = "group"
		body["chatid"] = c.id
	}
	c.spoken[b.BotID] = true
	s.mu.Unlock()

	k := &click{seq: in.Seq, taskID: card.TaskID, replaced: make(chan struct{})}
	if !s.push(b, "aibot_event_callback", body, &ask{kind: askClick, chat: c, msgID: body["msgid"].(string), click: k}) {
		return "no_answer", "the bot isn't connected"
	}
	return s.awaitCard(ctx, k)
}

// awaitCard waits for the replacement: five seconds of the machine, or until the
// simulated clock has passed them.
func (s *Sim) awaitCard(ctx context.Context, k *click) (status, detail string) {
	over := make(chan struct{})
	s.core.Timers.After(answerWithin+time.Millisecond, func(context.Context) { close(over) })
	t := time.NewTimer(answerWithin)
	defer t.Stop()
	select {
	case <-k.replaced:
		return "replaced", ""
	case <-t.C:
	case <-over:
	case <-ctx.Done():
	case <-s.core.Context().Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-k.replaced: // in the last moment
		return "replaced", ""
	default:
	}
	k.closed = true
	if k.refused != nil {
		return "refused", k.refused.Error()
	}
	return "no_answer", ""
}

// choices checks what was selected and gives it the vendor's form: an object of
// select key and option id or ids, or one id for the only select.
func choices(card *Card, raw json.RawMessage) ([]any, error) {
	picked := map[string][]string{}
	if err := readChoices(card, raw, picked); err != nil {
		return nil, err
	}
	out := []any{}
	for _, sel := range card.Selects {
		ids := picked[sel.Key]
		delete(picked, sel.Key)
		if len(ids) == 0 {
			continue
		}
		if len(ids) > 1 && !sel.Multiple {
			return nil, fmt.Errorf("select %q takes one option", sel.Key)
		}
		for _, id := range ids {
			if !slices.ContainsFunc(sel.Options, func(o CardOption) bool { return o.ID == id }) {
				return nil, fmt.Errorf("select %q has no option %q", sel.Key, id)
			}
		}
		out = append(out, map[string]any{"question_key": sel.Key, "option_ids": map[string]any{"option_id": ids}})
	}
	for key := range picked {
		return nil, fmt.Errorf("the card has no select %q", key)
	}
	return out, nil
}

func readChoices(card *Card, raw json.RawMessage, into map[string][]string) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		if one == "" {
			return nil
		}
		if len(card.Selects) == 0 {
			return errors.New("the card has no select")
		}
		into[card.Selects[0].Key] = []string{one}
		return nil
	}
	var many map[string]json.RawMessage
	if err := json.Unmarshal(raw, &many); err != nil {
		return errors.New("selected must be an object of select key and option id")
	}
	for key, v := range many {
		var id string
		var ids []string
		switch {
		case json.Unmarshal(v, &id) == nil:
			if id != "" {
				ids = []string{id}
			}
		case json.Unmarshal(v, &ids) == nil:
		default:
			return fmt.Errorf("selected.%s must be an option id or a list of them", key)
		}
		into[key] = ids
	}
	return nil
}

// enter lets a member open the 1:1 chat: the bot hears of it once a day.
func (s *Sim) enter(w http.ResponseWriter, _ *http.Request, c *chat) {
	s.mu.Lock()
	if len(s.bots) == 0 {
		s.mu.Unlock()
		simcore.WriteJSON(w, http.StatusOK, map[string]any{"told": false})
		return
	}
	b := s.bots[0]
	c.spoken[b.BotID] = true
	day := s.core.Now().In(beijing).Format(time.DateOnly)
	first := b.greeted[c.id] != day
	b.greeted[c.id] = day
	body := map[string]any{
		"msgid": newID(""), "create_time": s.core.Now().Unix(), "aibotid": b.BotID, "chattype": "single",
		"from": map[string]any{"userid": s.outward(c.id)}, "msgtype": "event",
		"event": map[string]any{"eventtype": "enter_chat"},
	}
	s.mu.Unlock()
	told := first && s.push(b, "aibot_event_callback", body, &ask{kind: askEnter, chat: c, msgID: body["msgid"].(string)})
	simcore.WriteJSON(w, http.StatusOK, map[string]any{"told": told})
}

// beijing is where the vendor's day begins.
var beijing = time.FixedZone("CST", 8*60*60)
