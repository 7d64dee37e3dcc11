package simwechat

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/sandbox/simcore"
)

const (
	clientMsgLife = 10 * time.Minute
	// resultAfter is how long the platform takes to deliver and report.
	resultAfter = 200 * time.Millisecond
)

type clientMsg struct{ openID, id string }

type sentMsg struct {
	msgID int64
	at    time.Time
}

type sentMark struct {
	key clientMsg
	at  time.Time
}

type fieldValue struct {
	Value string `json:"value"`
}

type templateMessage struct {
	ToUser      string                `json:"touser"`
	TemplateID  string                `json:"template_id"`
	URL         string                `json:"url"`
	Page        string                `json:"page"` // bizsend
	MiniProgram *miniProgram          `json:"miniprogram"`
	Data        map[string]fieldValue `json:"data"`
	ClientMsgID string                `json:"client_msg_id"`
}

type miniProgram struct {
	AppID    string `json:"appid"`
	PagePath string `json:"pagepath"`
}

func (s *Sim) templateSend(c *call) (any, error) {
	var m templateMessage
	if err := c.json(&m); err != nil {
		return nil, err
	}
	u := s.userOf(c.acct, m.ToUser)
	if u == nil {
		return nil, errc(40003)
	}
	t, ok := c.acct.template(m.TemplateID)
	if !ok || t.Kind == "subscribe" {
		return nil, errc(40037)
	}
	if !u.following() {
		return nil, errc(43004)
	}
	if err := c.acct.checkData(t, m.Data); err != nil {
		return nil, err
	}
	now := s.core.Now()
	msgID, repeated := c.acct.templateID(m, now, s.nextMsgID)
	if !repeated {
		it := templateItem("template", t, m)
		s.accepted("template", m.ToUser, it.Text+"\n"+it.URL)
		s.core.Counters.OutID(m.ClientMsgID)
		s.core.Timers.After(resultAfter, func(ctx context.Context) { s.finishTemplate(ctx, u, it, msgID) })
	}
	return map[string]any{"errcode": 0, "errmsg": "ok", "msgid": msgID}, nil
}

func (a *account) template(id string) (simcore.WeChatTemplate, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t, ok := a.templates[id]
	return t, ok
}

// checkData is the rule that test accounts do not enforce.
func (a *account) checkData(t simcore.WeChatTemplate, data map[string]fieldValue) error {
	keys := fieldKeys(t, data)
	if len(data) == 0 && len(keys) > 0 {
		return errf(47003, "argument invalid! data.%s.value is empty", keys[0])
	}
	if a.testAccount() {
		return nil
	}
	for _, k := range keys {
		v := data[k].Value
		if strings.TrimSpace(v) == "" {
			return errf(47003, "argument invalid! data.%s.value is empty", k)
		}
		if !checkField(t, k, v) {
			return errf(47003, "argument invalid! data.%s.value invalid", k)
		}
	}
	return nil
}

// fieldKeys are the template's own keys, or those sent where it names none.
// first and remark are dropped since May 2023.
func fieldKeys(t simcore.WeChatTemplate, data map[string]fieldValue) []string {
	keys := slices.Clone(t.Keys())
	if len(keys) == 0 {
		for k := range data {
			keys = append(keys, k)
		}
		sort.Strings(keys)
	}
	return slices.DeleteFunc(keys, func(k string) bool { return k == "first" || k == "remark" })
}

// templateID is the msgid of a send. The same openid and client_msg_id within
// ten minutes get the first one's and no second message.
func (a *account) templateID(m templateMessage, now time.Time, next func() int64) (msgID int64, repeated bool) {
	if m.ClientMsgID == "" {
		return next(), false
	}
	key := clientMsg{m.ToUser, m.ClientMsgID}
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.sentOrder) > 0 && now.Sub(a.sentOrder[0].at) >= clientMsgLife {
		if old := a.sentOrder[0]; a.sent[old.key].at.Equal(old.at) {
			delete(a.sent, old.key)
		}
		a.sentOrder = a.sentOrder[1:]
	}
	if was, ok := a.sent[key]; ok && now.Sub(was.at) < clientMsgLife {
		return was.msgID, true
	}
	msgID = next()
	a.sent[key] = sentMsg{msgID, now}
	a.sentOrder = append(a.sentOrder, sentMark{key, now})
	return msgID, false
}

var templatePlace = regexp.MustCompile(`\{\{\s*([A-Za-z_]+[0-9]*)\.DATA\s*\}\}`)

func templateItem(kind string, t simcore.WeChatTemplate, m templateMessage) ChatItem {
	it := ChatItem{From: "account", Kind: kind, Type: "template", TemplateID: m.TemplateID, Title: t.Title, Fields: map[string]string{}, URL: m.URL}
	if kind == "subscribe" {
		it.URL = m.Page
	}
	if m.MiniProgram != nil && m.MiniProgram.AppID != "" {
		it.URL = m.MiniProgram.PagePath // the mini program wins over the link
	}
	keys := fieldKeys(t, m.Data)
	lines := make([]string, 0, len(keys)+1)
	for _, k := range keys {
		it.Fields[k] = m.Data[k].Value
		lines = append(lines, m.Data[k].Value)
	}
	if t.Content == "" {
		it.Text = strings.Join(lines, "\n")
		return it
	}
	it.Text = strings.Trim(templatePlace.ReplaceAllStringFunc(t.Content, func(p string) string {
		return it.Fields[templatePlace.FindStringSubmatch(p)[1]]
	}), outerSpace)
	return it
}

// finishTemplate shows the message and pushes TEMPLATESENDJOBFINISH.
func (s *Sim) finishTemplate(ctx context.Context, u *user, it ChatItem, msgID int64) {
	openID := u.r.OpenID
	status := "success"
	u.mu.Lock()
	if u.r.Refuses || !u.r.Following {
		status = "failed:user block"
	}
	u.mu.Unlock()
	m := simcore.Match{OpenID: openID}
	for _, target := range []string{"wechat.template_result", "wechat.template_send"} {
		if f := s.core.Faults.Take(target, m, simcore.FaultReceipt); f != nil {
			status = f.Code.String("failed: system failed")
			break
		}
	}
	if status == "success" {
		s.show(u, it)
	}
	s.pushResult(ctx, u, "wechat.template_result", func() []element {
		return []element{
			cdata("MsgType", "event"), cdata("Event", "TEMPLATESENDJOBFINISH"),
			plain("MsgID", strconv.FormatInt(msgID, 10)), cdata("Status", status),
		}
	})
}

// pushResult delivers a result event under the faults of its target.
func (s *Sim) pushResult(ctx context.Context, u *user, target string, build func() []element) {
	f := s.core.Faults.Take(target, simcore.Match{OpenID: u.r.OpenID})
	copies := 1
	if f != nil {
		switch f.Kind {
		case simcore.FaultDrop, simcore.FaultTimeoutBefore:
			s.core.Counters.Call(target, f.Kind)
			return
		case simcore.FaultDelay, simcore.FaultSlow:
			// Late in the simulated day, so that a moved clock brings it.
			s.core.Timers.After(f.Wait(time.Second), func(ctx context.Context) { s.deliverResult(ctx, u, target, build, 1) })
			return
		case simcore.FaultDuplicate:
			copies = 2
		}
	}
	s.deliverResult(ctx, u, target, build, copies)
}

func (s *Sim) deliverResult(ctx context.Context, u *user, target string, build func() []element, copies int) {
	p := s.newPush(u, "", build())
	p.target, p.quiet = target, true
	p.times = copies
	s.deliver(ctx, p)
}

func (s *Sim) allTemplates(c *call) (any, error) {
	c.acct.mu.Lock()
	defer c.acct.mu.Unlock()
	list := make([]map[string]string, 0, len(c.acct.templates))
	for _, t := range c.acct.templates {
		if t.Kind == "subscribe" {
			continue
		}
		list = append(list, map[string]string{
			"template_id": t.TemplateID, "title": t.Title, "primary_industry": "", "deputy_industry": "",
			"content": t.Content, "example": t.Example,
		})
	}
	sort.Slice(list, func(i, j int) bool { return list[i]["template_id"] < list[j]["template_id"] })
	return map[string]any{"template_list": list}, nil
}

func (s *Sim) deleteTemplate(c *call) (any, error) {
	var in struct {
		TemplateID string `json:"template_id"`
	}
	if err := c.json(&in); err != nil {
		return nil, err
	}
	c.acct.mu.Lock()
	defer c.acct.mu.Unlock()
	if _, ok := c.acct.templates[in.TemplateID]; !ok {
		return nil, errc(40037)
	}
	delete(c.acct.templates, in.TemplateID)
	return okBody(), nil
}

// bizSend sends a subscription notification: it needs a consent, not a
// follower, and answers no msgid.
func (s *Sim) bizSend(c *call) (any, error) {
	var m templateMessage
	if err := c.json(&m); err != nil {
		return nil, err
	}
	u := s.userOf(c.acct, m.ToUser)
	if u == nil {
		return nil, errc(40003)
	}
	t, ok := c.acct.template(m.TemplateID)
	if !ok || t.Kind != "subscribe" {
		return nil, errc(40037)
	}
	if err := c.acct.checkData(t, m.Data); err != nil {
		return nil, err
	}
	if !u.useConsent(m.TemplateID) {
		return nil, errc(43101)
	}
	it := templateItem("subscribe", t, m)
	s.accepted("subscribe", m.ToUser, it.Text+"\n"+it.URL)
	msgID := s.nextMsgID()
	s.core.Timers.After(resultAfter, func(ctx context.Context) { s.finishSubscribe(ctx, u, it, msgID) })
	return okBody(), nil
}

func (u *user) useConsent(templateID string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := u.r.Consents[templateID]
	if n == 0 {
		return false
	}
	if n > 0 {
		u.r.Consents[templateID] = n - 1
	}
	return true
}

func (s *Sim) finishSubscribe(ctx context.Context, u *user, it ChatItem, msgID int64) {
	code, status := "0", "success"
	if f := s.core.Faults.Take("wechat.subscribe_send", simcore.Match{OpenID: u.r.OpenID}, simcore.FaultReceipt); f != nil {
		code, status = f.Code.String("2"), "failed"
	} else {
		s.show(u, it)
	}
	s.pushResult(ctx, u, "wechat.template_result", func() []element {
		return []element{
			cdata("MsgType", "event"), cdata("Event", "subscribe_msg_sent_event"),
			inside("SubscribeMsgSentEvent", inside("List",
				cdata("TemplateId", it.TemplateID), plain("MsgID", strconv.FormatInt(msgID, 10)),
				plain("ErrorCode", code), cdata("ErrorStatus", status))),
		}
	})
}

// UnmarshalJSON lets a field's value be a number, which WeChat takes too.
func (v *fieldValue) UnmarshalJSON(b []byte) error {
	var in struct {
		Value any `json:"value"`
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	if err := d.Decode(&in); err != nil {
		return err
	}
	switch x := in.Value.(type) {
	case string:
		v.Value = x
	case json.Number:
		v.Value = x.String()
	}
	return nil
}
