package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// killPoint is one row of the table: a node dies at the nth pass of a point,
// while something is driven through it.
type killPoint struct {
	point string
	drive string // name of what is driven, in drives
	roles string // of the dying node; empty: all
	// doubles is how often the words or the card may come once more
	// (architecture section 4); lossy tells that they may also not come.
	doubles int64
	lossy   bool
}

// killPoints are all named points of the product. What kills between a call and
// its record may double where the vendor offers no way to ask; before the
// commit nothing happened, after it everything has.
func killPoints() []killPoint {
	list := []killPoint{
		{point: "turn.decided", drive: "courtesy"},
		{point: "turn.decided", drive: "opened"},
		{point: "turn.saved", drive: "opened"},
	}
	for _, action := range []string{"opened", "resident_said", "urged", "withdrawn", "solved", "not_solved", "partly", "rated",
		"claimed", "assigned", "replied", "noted", "transferred", "handled", "closed", "not_delivered", "recalled", "escalated"} {
		list = append(list, killPoint{point: "case." + action + ".written", drive: action}, killPoint{point: "case." + action + ".committed", drive: action})
	}
	for i := range list {
		// Killed while it writes that the last way failed, nobody knows whether
		// it did: the ledger waits for a receipt before it says so.
		list[i].lossy = list[i].point == "case.not_delivered.written"
	}
	for _, p := range []string{"stored", "acted", "handled", "answered"} {
		list = append(list, killPoint{point: "group." + p, drive: "group"})
	}
	for _, p := range []string{"approved", "freeze", "frozen", "put", "freed"} {
		list = append(list, killPoint{point: "notice." + p, drive: "broadcast"})
	}
	const words, card, code = "notice", "card", "code"
	for _, p := range []string{"claimed", "sending", "called", "recorded"} {
		one := int64(0)
		if p == "called" || p == "sending" {
			one = 1 // nobody knows whether it went out: once more rather than never
		}
		list = append(list,
			killPoint{point: "delivery." + p, drive: words, roles: "web,worker", doubles: one},
			killPoint{point: "delivery." + p, drive: card, doubles: one},
			// The vendor can be asked: never twice. Not called and not found
			// is proven absence only after its time, when the code is stale.
			killPoint{point: "delivery." + p, drive: code, roles: "web,worker", lossy: p == "sending"})
	}
	return list
}

// pointFigures is what one row gave.
type pointFigures struct {
	Point   string `json:"point"`
	Drive   string `json:"drive"`
	Died    bool   `json:"died"`
	Lost    int64  `json:"lost"`
	Doubled int64  `json:"doubled"`
	Allowed int64  `json:"doubled_allowed"`
	Note    string `json:"note,omitempty"`
}

// pointsFigures are the figures of all rows.
type pointsFigures struct {
	figures
	Points []pointFigures `json:"points"`
}

// runPoints dies once at every point.
func runPoints(r run, s *scene, only string) error {
	out := pointsFigures{figures: figures{Mode: "crash --points"}}
	began := time.Now()
	ids, err := s.ctl.followers(r)
	if err != nil {
		return err
	}
	a, b := s.nodes[0], s.nodes[1%len(s.nodes)]
	if a == b {
		return errors.New("--points needs two nodes")
	}
	if err := a.start(); err != nil {
		return err
	}
	for i, k := range killPoints() {
		if only != "" && !strings.Contains(k.point+" "+k.drive, only) {
			continue
		}
		p := &dying{s: s, k: k, a: a, b: b, openID: ids[i%len(ids)]}
		f, err := p.run(r)
		if err != nil {
			return fmt.Errorf("%s (%s): %w", k.point, k.drive, err)
		}
		s.log.Info("kill point", "point", k.point, "drive", k.drive, "died", f.Died, "lost", f.Lost, "doubled", f.Doubled, "allowed", f.Allowed, "note", f.Note)
		out.add(f)
	}
	out.PerSecond = ratio(float64(out.Requests), time.Since(began).Seconds())
	if err := r.print(out); err != nil {
		return err
	}
	if out.Lost > 0 || out.Doubled > 0 || out.Errors > 0 {
		return errFound
	}
	return nil
}

func (o *pointsFigures) add(f pointFigures) {
	o.Points = append(o.Points, f)
	o.Requests++
	o.Lost += f.Lost
	o.Doubled += f.Doubled
	if f.Died {
		o.OK++
	} else {
		o.Errors++ // a point that nobody passes proves nothing
	}
}

// dying is one row under way: node a prepares, node b dies, node a goes on.
type dying struct {
	s      *scene
	k      killPoint
	a, b   *node
	openID string

	after  int64 // last line of the chat before the drive
	no     string
	member []string
	chatID string
	push   *pushed
	again  bool   // the second call was made
	sms    string // phone that gets a code
	told   *broadcast
}

// drive is a way to pass a point.
type drive struct {
	before []string // what node a does first, of steps
	step   string   // what node b dies in
	event  string   // the case event that must be there once, if any
	alone  bool     // node a must be away, or it would take the work
}

// drives are the ways to pass each action; the states before them follow the
// life of a case.
func drives() map[string]drive {
	return map[string]drive{
		"courtesy":      {step: "thank", alone: true},
		"opened":        {step: "open", event: "opened", alone: true},
		"resident_said": {before: []string{"open"}, step: "more", event: "resident_said", alone: true},
		"urged":         {before: []string{"open"}, step: "urge", event: "urged", alone: true},
		"withdrawn":     {before: []string{"open"}, step: "cancel", event: "withdrawn", alone: true},
		"solved":        {before: []string{"open", "claim", "handle"}, step: "solved", event: "solved", alone: true},
		"not_solved":    {before: []string{"open", "claim", "handle"}, step: "notsolved", event: "not_solved", alone: true},
		"partly":        {before: []string{"open", "claim", "handle"}, step: "partly", event: "partly", alone: true},
		"rated":         {before: []string{"open", "claim", "handle", "solved"}, step: "rate", event: "rated", alone: true},
		"claimed":       {before: []string{"open"}, step: "claim", event: "claimed"},
		"assigned":      {before: []string{"open"}, step: "assign", event: "assigned"},
		"replied":       {before: []string{"open", "claim"}, step: "reply", event: "replied"},
		"noted":         {before: []string{"open", "claim"}, step: "note", event: "noted"},
		"transferred":   {before: []string{"open"}, step: "transfer", event: "transferred"},
		"handled":       {before: []string{"open", "claim"}, step: "handle", event: "handled"},
		"closed":        {before: []string{"open", "claim", "handle"}, step: "close", event: "closed"},
		"not_delivered": {before: []string{"open", "deaf"}, step: "claim", event: "not_delivered", alone: true},
		"recalled":      {before: []string{"open", "claim"}, step: "recall", alone: true},
		"escalated":     {before: []string{"open"}, step: "overdue", event: "escalated", alone: true},
		"notice":        {before: []string{"open"}, step: "claim", event: "claimed", alone: true},
		"card":          {step: "open", event: "opened", alone: true},
		"group":         {before: []string{"open", "claim"}, step: "speak", event: "replied", alone: true},
		"broadcast":     {before: []string{"draft"}, step: "approve", alone: true},
		"code":          {before: []string{"stranger"}, step: "bind", alone: true},
	}
}

// pointPatience is how long a node may take to reach its point, and things to
// be right afterwards: an unknown call is settled after half a minute, an
// overdue case is found within a minute.
const pointPatience = 100 * time.Second

func (p *dying) run(ctx context.Context) (pointFigures, error) {
	f := pointFigures{Point: p.k.point, Drive: p.k.drive}
	ctx, cancel := context.WithTimeout(ctx, 4*pointPatience+plannedPatience)
	defer cancel()
	d, ok := drives()[p.k.drive]
	if !ok {
		return f, errors.New("nothing drives it")
	}
	var err error
	if _, p.after, err = p.s.ctl.chat(ctx, p.openID, 0); err != nil {
		return f, err
	}
	for _, step := range d.before {
		if err := p.do(ctx, step, p.a); err != nil {
			return f, fmt.Errorf("before: %w", err)
		}
	}
	p.s.quiet(ctx, pointPatience, p.openID)
	if _, p.after, err = p.s.ctl.chat(ctx, p.openID, 0); err != nil {
		return f, err
	}
	if f.Died, err = p.die(ctx, d); err != nil {
		return f, err
	}
	err = p.verify(ctx, d, &f)
	return f, errors.Join(err, p.s.ctl.sim(ctx, http.MethodDelete, "/faults", nil, nil))
}

// die starts the doomed node, drives it until it is gone, and brings the other
// one back.
func (p *dying) die(ctx context.Context, d drive) (died bool, err error) {
	if d.alone {
		if err := p.a.stop(); err != nil {
			return false, err
		}
	}
	if err := p.b.startKilled(p.k.point, 1, p.k.roles); err != nil {
		return false, err
	}
	drove := make(chan error, 1)
	go func() { drove <- p.do(ctx, d.step, p.b) }()
	timer := time.NewTimer(pointPatience)
	defer timer.Stop()
	select {
	case <-p.b.proc.done:
		died = true
	case <-timer.C:
	}
	if d.alone {
		if err := p.a.start(); err != nil {
			return died, err
		}
	}
	if !died {
		if err := p.b.stop(); err != nil {
			return false, err
		}
	}
	p.b.proc = nil
	select {
	case err := <-drove:
		if errors.Is(err, errWords) {
			return died, err
		}
	case <-ctx.Done():
		return died, ctx.Err()
	}
	return died, nil
}

// errWords says that the product did not understand what drives it: the table
// of drives is wrong, not the product.
var errWords = errors.New("the product answers something else")

// do takes one step by way of a node. A step that fails because the node died
// returns an error that die ignores.
func (p *dying) do(ctx context.Context, step string, n *node) error {
	says := map[string]string{"thank": "谢谢", "more": "楼道灯还是不亮", "urge": "怎么还没来", "cancel": "取消", "solved": "已解决", "notsolved": "未解决",
		"partly": "部分解决", "rate": "5", "open": "楼道灯不亮了"}
	if words, ok := says[step]; ok {
		return p.say(ctx, step, words)
	}
	acts := map[string]map[string]any{"claim": nil, "reply": {"text": "师傅十分钟到"}, "note": {"text": "带梯子"}, "handle": {"measures": "已更换并试用正常"}}
	if in, ok := acts[step]; ok {
		return p.act(ctx, n, p.member[0], step, in)
	}
	switch step {
	case "assign":
		return p.act(ctx, n, "", "assign", map[string]any{"to": p.member[0]})
	case "close":
		return p.act(ctx, n, "", "close", map[string]any{"follow_up": "solved"})
	case "transfer":
		return p.act(ctx, n, "", "transfer", map[string]any{"queue": p.otherQueue(), "reason": "归客服处理"})
	case "deaf":
		return p.s.ctl.sim(ctx, http.MethodPut, "/faults", []map[string]any{
			{"target": "wechat.custom_send", "kind": "errcode", "code": 43004, "match": map[string]any{"openid": p.openID}},
			{"target": "wechat.template_send", "kind": "errcode", "code": 43004, "match": map[string]any{"openid": p.openID}},
			{"target": "sms.send", "kind": "errcode", "code": "isv.MOBILE_NUMBER_ILLEGAL"}}, nil)
	case "recall":
		if err := p.act(ctx, n, p.member[0], "reply", map[string]any{"text": "师傅十分钟到"}); err != nil {
			return err
		}
		return p.speak(ctx, "撤回 #"+p.no)
	case "speak":
		return p.speak(ctx, "#"+p.no+" 师傅十分钟到")
	case "overdue":
		_, err := p.s.db.ExecContext(ctx, `UPDATE cases SET accept_by = opened_at WHERE no = $1`, p.no)
		return err
	case "draft":
		return p.draft(ctx, n)
	case "approve":
		return p.s.ctl.approve(ctx, n.url(), p.told.notice.ID)
	case "stranger", "bind":
		return p.bind(ctx, step)
	}
	return fmt.Errorf("%w: no step %q", errWords, step)
}

func (p *dying) say(ctx context.Context, step, words string) error {
	pushed, err := p.s.ctl.say(ctx, p.openID, words)
	if err != nil {
		return err
	}
	p.push = &pushed
	if step != "open" {
		return nil
	}
	if p.no = caseNo(pushed.reply()); p.no == "" {
		return nil // it comes later; verify looks it up
	}
	return p.meet(ctx)
}

// meet finds out who works on the case.
func (p *dying) meet(ctx context.Context) error {
	var c caseView
	var err error
	for try := 0; try < 60; try++ {
		if c, err = p.s.ctl.kase(ctx, p.a.url(), p.no); err == nil {
			break
		}
		if !pause(ctx, 500*time.Millisecond) {
			return ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	p.chatID, p.member = p.s.ctl.membersOf(c.Queue)
	if len(p.member) == 0 {
		return fmt.Errorf("%w: nobody works in the queue of the case", errWords)
	}
	return nil
}

func (p *dying) act(ctx context.Context, n *node, member, action string, in any) error {
	token := p.s.ctl.ready.APIToken
	if member != "" {
		token = p.s.ctl.ready.Tokens[member]
	}
	status, err := p.s.ctl.api(ctx, n.url(), token, http.MethodPost, "/cases/"+p.no+"/"+action, in, nil)
	if err == nil && status/100 != 2 {
		return fmt.Errorf("%w: %s: status %d", errWords, action, status)
	}
	return err
}

// speak lets the member speak to the bot once somebody hears it: what is said
// while no node holds the socket, WeCom keeps to itself.
func (p *dying) speak(ctx context.Context, words string) error {
	for {
		var out struct{ Heard bool }
		err := p.s.ctl.sim(ctx, http.MethodPost, "/groups/"+url.PathEscape(p.chatID)+"/messages",
			map[string]any{"from": p.member[0], "text": "@" + p.s.ctl.ready.Bot.Name + " " + words}, &out)
		if err != nil || out.Heard {
			return err
		}
		if !pause(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

func (p *dying) otherQueue() string {
	for _, q := range p.s.ctl.ready.Queues {
		if q.Line == "customer_service" {
			return q.ID
		}
	}
	return ""
}

// bind lets a new follower ask for the code of a home that nobody is bound to.
func (p *dying) bind(ctx context.Context, step string) error {
	if step == "bind" {
		return p.say(ctx, step, "绑定 "+p.no+" "+p.sms)
	}
	var list struct {
		Residents []struct {
			Phone string `json:"phone"`
			Homes []struct {
				Unit string `json:"unit"`
			} `json:"homes"`
		} `json:"residents"`
	}
	if _, err := p.s.ctl.api(ctx, p.a.url(), p.s.ctl.ready.APIToken, http.MethodGet, "/residents?bound=false&limit=50", nil, &list); err != nil {
		return err
	}
	for _, r := range list.Residents {
		inbox, err := p.inbox(ctx, r.Phone)
		if err != nil {
			return err
		}
		if r.Phone != "" && len(r.Homes) == 1 && len(inbox) == 0 {
			p.sms, p.no = r.Phone, r.Homes[0].Unit
			break
		}
	}
	if p.sms == "" {
		return fmt.Errorf("%w: no resident to bind is left", errWords)
	}
	var made struct{ OpenID string }
	if err := p.s.ctl.sim(ctx, http.MethodPost, "/residents", map[string]any{"nickname": "新住户", "phone": p.sms}, &made); err != nil {
		return err
	}
	p.openID = made.OpenID
	return p.s.ctl.sim(ctx, http.MethodPost, "/residents/"+url.PathEscape(p.openID)+"/follow", map[string]any{}, nil)
}

func (p *dying) inbox(ctx context.Context, phone string) ([]string, error) {
	var out struct {
		Items []struct{ Text string }
	}
	err := p.s.ctl.sim(ctx, http.MethodGet, "/sms?phone="+url.QueryEscape(phone), nil, &out)
	var texts []string
	for _, it := range out.Items {
		texts = append(texts, it.Text)
	}
	return texts, err
}

var sixDigits = regexp.MustCompile(`\d{6}`)

// verify waits until all is right, or tells what is not.
func (p *dying) verify(ctx context.Context, d drive, f *pointFigures) error {
	if p.told != nil {
		return p.verifyBroadcast(ctx, f)
	}
	patience := pointPatience
	if p.k.lossy {
		patience /= 4 // what may never come is not waited for, only that it doesn't come twice
	}
	end := time.Now().Add(patience)
	for {
		remains, _ := p.s.quiet(ctx, time.Until(end), p.openID, p.sms)
		again := *f
		if remains != "" && !p.k.lossy {
			again.Lost, again.Note = again.Lost+1, remains
		}
		if err := p.count(ctx, d, &again); err != nil {
			return err
		}
		if again.Lost == 0 || time.Now().After(end) || !pause(ctx, time.Second) {
			*f = again
			return nil
		}
	}
}

// count compares the row's drive with what came of it.
func (p *dying) count(ctx context.Context, d drive, f *pointFigures) error {
	check := func(what string, got, want int64) {
		switch {
		case got < want && !p.k.lossy:
			f.Lost += want - got
			f.Note += fmt.Sprintf("%s: %d of %d; ", what, got, want)
		case got > want+p.k.doubles:
			f.Doubled += got - want
			f.Note += fmt.Sprintf("%s: %d instead of %d; ", what, got, want)
		case got > want:
			f.Allowed += got - want
		}
	}
	items, _, err := p.s.ctl.chat(ctx, p.openID, p.after)
	if err != nil {
		return err
	}
	if p.push != nil && d.alone && p.push.acknowledged() && d.step != "claim" && d.step != "recall" && d.step != "overdue" && d.step != "speak" {
		check("answers", answersIn(items), 1)
	}
	switch p.k.drive {
	case "code":
		texts, err := p.inbox(ctx, p.sms)
		if err != nil {
			return err
		}
		check("code by SMS", int64(len(texts)), 1)
		if len(texts) > 0 && len(sixDigits.FindAllString(texts[0], -1)) != 1 {
			f.Note += "the SMS holds no code; "
		}
		return nil
	case "courtesy":
		return nil
	case "notice", "group":
		check("words to the resident", answersIn(items), 1)
	}
	return p.countCase(ctx, d, check)
}

// answersIn counts the lines that a resident got from the account.
func answersIn(items []chatItem) int64 {
	var n int64
	for _, it := range items {
		if it.From == "account" {
			n++
		}
	}
	return n
}

func (p *dying) countCase(ctx context.Context, d drive, check func(string, int64, int64)) error {
	found, err := p.s.ctl.cases(ctx, p.a.url(), p.openID)
	if err != nil {
		return err
	}
	check("cases", int64(len(found)), 1)
	if len(found) == 0 {
		return nil
	}
	p.no = found[0].No
	c, err := p.s.ctl.kase(ctx, p.a.url(), p.no)
	if err != nil {
		return err
	}
	if p.k.drive == "card" {
		n, err := p.cards(ctx, c)
		if err != nil {
			return err
		}
		check("cards in the group", n, 1)
	}
	if d.event == "" {
		return nil
	}
	n := int64(c.count(d.event))
	if written := strings.HasSuffix(p.k.point, ".written"); written && !d.alone {
		// Whoever called the API knows that it failed, and calls again.
		if !p.again {
			check("event before the second call", n, 0)
			if err := p.do(ctx, d.step, p.a); err != nil {
				return err
			}
			p.again = true
		}
		if c, err = p.s.ctl.kase(ctx, p.a.url(), p.no); err != nil {
			return err
		}
		n = int64(c.count(d.event))
	}
	check("event "+d.event, n, 1)
	return nil
}

// cards counts how often the case's first card came into its group.
func (p *dying) cards(ctx context.Context, c caseView) (int64, error) {
	chatID, _ := p.s.ctl.membersOf(c.Queue)
	var out struct {
		Items []struct {
			Card *struct {
				Title string `json:"title"`
			} `json:"card"`
		} `json:"items"`
	}
	if err := p.s.ctl.sim(ctx, http.MethodGet, "/groups/"+url.PathEscape(chatID)+"/chat?after=0", nil, &out); err != nil {
		return 0, err
	}
	var n int64
	for _, it := range out.Items {
		if it.Card != nil && strings.Contains(it.Card.Title, "#"+c.No) {
			n++
		}
	}
	return n, nil
}
