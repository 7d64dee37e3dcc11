package simwecom_test

import (
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"guanjia/internal/sandbox/simcore"
)

// click presses a button in the background.
func (r *rig) click(body map[string]any) chan map[string]any {
	done := make(chan map[string]any, 1)
	go func() {
		_, out := r.call("POST", engine+"/clicks", body)
		done <- out
	}()
	return done
}

func update(c map[string]any) map[string]any {
	return map[string]any{"response_type": "update_template_card", "template_card": c}
}

func taken(task, by string) map[string]any {
	c := card(task)
	c["main_title"] = map[string]any{"title": "电梯故障 · 3-2-1201", "desc": "已由" + by + "接单"}
	return c
}

func TestClickReplacesTheCard(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	b.send("aibot_send_msg", push("wrEngine", 2, "template_card", card("case-1-r1")))
	items, last := r.chat(engine, 0)
	seen := items[0]["card"].(map[string]any)
	if items[0]["type"] != "card" || seen["task_id"] != "case-1-r1" || len(seen["buttons"].([]any)) != 2 || seen["rows"].([]any)[0].(map[string]any)["key"] != "报事人" {
		t.Fatalf("card: %v", items[0])
	}
	done := r.click(map[string]any{"from": "zhang", "seq": 1, "key": "claim"})
	f := b.next()
	e := body(f)["event"].(map[string]any)["template_card_event"].(map[string]any)
	if f["cmd"] != "aibot_event_callback" || e["event_key"] != "claim" || e["task_id"] != "case-1-r1" || e["card_type"] != "button_interaction" {
		t.Fatalf("event: %v", f)
	}
	id := reqID(f)
	if c := code(b.as(id, "aibot_respond_msg", map[string]any{"msgtype": "markdown", "markdown": markdown("x")})); c != 846605 {
		t.Errorf("respond_msg to a click: %d, want 846605", c)
	}
	if c := code(b.as(id, "aibot_respond_update_msg", update(taken("case-1-r2", "张三")))); c != 40058 {
		t.Errorf("another task_id: %d, want 40058", c)
	}
	if c := code(b.as(id, "aibot_respond_update_msg", map[string]any{"template_card": taken("case-1-r1", "张三")})); c != 40058 {
		t.Errorf("no response_type: %d, want 40058", c)
	}
	if c := code(b.as(id, "aibot_respond_update_msg", update(taken("case-1-r1", "张三")))); c != 0 {
		t.Errorf("update: %d", c)
	}
	if out := <-done; out["status"] != "replaced" {
		t.Errorf("click: %v", out)
	}
	items, next := r.chat(engine, last)
	if len(items) != 1 || items[0]["seq"].(float64) != 1 || items[0]["rev"].(float64) != 2 || items[0]["card"].(map[string]any)["desc"] != "已由张三接单" {
		t.Errorf("the replaced card: %v", items)
	}
	if items, _ := r.chat(engine, next); len(items) != 0 {
		t.Errorf("it keeps coming: %v", items)
	}
	if c := code(b.as(id, "aibot_respond_update_msg", update(taken("case-1-r1", "李四")))); c != 846605 {
		t.Errorf("a second update: %d, want 846605", c)
	}
	if c := code(b.send("aibot_send_msg", push("wrEngine", 2, "template_card", card("case-1-r1")))); c != 40058 {
		t.Errorf("a task_id used again: %d, want 40058", c)
	}
}

func TestClickNobodyAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	b.send("aibot_send_msg", push("wrEngine", 2, "template_card", card("t")))
	done := r.click(map[string]any{"from": "zhang", "seq": 1, "key": "claim"})
	f := b.next()
	r.clock.Advance(6 * time.Second) // the simulated clock ends the waiting too
	select {
	case out := <-done:
		if out["status"] != "no_answer" {
			t.Errorf("%v", out)
		}
	case <-time.After(3 * time.Second):
		t.Fatal("the click waits on")
	}
	if c := code(b.as(reqID(f), "aibot_respond_update_msg", update(taken("t", "张三")))); c != 846605 {
		t.Errorf("an update after 5 s: %d, want 846605", c)
	}
	b.nothing() // delivered once, then dropped

	_ = b.ws.CloseNow()
	b.closed()
	start := time.Now()
	if out := <-r.click(map[string]any{"from": "zhang", "seq": 1, "key": "claim"}); out["status"] != "no_answer" {
		t.Errorf("without a bot: %v", out)
	}
	if d := time.Since(start); d > 7*time.Second {
		t.Errorf("it took %s", d)
	}
}

func TestClickRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	r.say(engine, "zhang", "早")
	c := card("t")
	c["button_selection"] = map[string]any{"question_key": "canned", "title": "常用语", "option_list": []any{
		map[string]any{"id": "a", "text": "马上到"}, map[string]any{"id": "b", "text": "稍等"},
	}}
	if got := code(b.send("aibot_send_msg", push("wrEngine", 2, "template_card", c))); got != 0 {
		t.Fatalf("send: %d", got)
	}
	for name, in := range map[string]map[string]any{
		"a text":          {"from": "zhang", "seq": 1, "key": "claim"},
		"nothing":         {"from": "zhang", "seq": 77, "key": "claim"},
		"no such button":  {"from": "zhang", "seq": 2, "key": "explode"},
		"a stranger":      {"from": "wang", "seq": 2, "key": "claim"},
		"no such option":  {"from": "zhang", "seq": 2, "key": "claim", "selected": map[string]any{"canned": "z"}},
		"no such select":  {"from": "zhang", "seq": 2, "key": "claim", "selected": map[string]any{"other": "a"}},
		"two where one":   {"from": "zhang", "seq": 2, "key": "claim", "selected": map[string]any{"canned": []string{"a", "b"}}},
		"a number for it": {"from": "zhang", "seq": 2, "key": "claim", "selected": 5},
	} {
		if out := <-r.click(in); out["status"] != "refused" {
			t.Errorf("%s: %v", name, out)
		}
	}
	b.nothing()
	for name, selected := range map[string]any{"object": map[string]any{"canned": "b"}, "list": map[string]any{"canned": []string{"b"}}, "bare": "b"} {
		done := r.click(map[string]any{"from": "li", "seq": 2, "key": "claim", "selected": selected})
		f := b.next()
		e := body(f)["event"].(map[string]any)["template_card_event"].(map[string]any)
		items := e["selected_items"].(map[string]any)["selected_item"].([]any)
		one := items[0].(map[string]any)
		if one["question_key"] != "canned" || one["option_ids"].(map[string]any)["option_id"].([]any)[0] != "b" {
			t.Errorf("%s: %v", name, e)
		}
		b.as(reqID(f), "aibot_respond_update_msg", update(c))
		if out := <-done; out["status"] != "replaced" {
			t.Errorf("%s: %v", name, out)
		}
	}
	// A replacement the platform refuses leaves the click refused.
	done := r.click(map[string]any{"from": "li", "seq": 2, "key": "claim"})
	f := b.next()
	bad := map[string]any{"card_type": "text_notice", "task_id": "t", "main_title": map[string]any{"title": "已接单"}}
	if got := code(b.as(reqID(f), "aibot_respond_update_msg", update(bad))); got != 42045 {
		t.Errorf("text_notice without card_action: %d, want 42045", got)
	}
	r.clock.Advance(6 * time.Second)
	if out := <-done; out["status"] != "refused" {
		t.Errorf("%v", out)
	}
}

func TestUpdateForSomeOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	b.send("aibot_send_msg", push("wrEngine", 2, "template_card", card("t")))
	done := r.click(map[string]any{"from": "zhang", "seq": 1, "key": "claim"})
	f := b.next()
	u := update(taken("t", "张三"))
	u["userids"] = []string{"zhang"}
	b.as(reqID(f), "aibot_respond_update_msg", u)
	<-done
	items, _ := r.chat(engine, 0)
	views := items[0]["views"].(map[string]any)
	if items[0]["card"].(map[string]any)["desc"] != "工程队列" || views["zhang"].(map[string]any)["desc"] != "已由张三接单" {
		t.Errorf("%v", items[0])
	}
}

func TestTwoClicksAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	b.send("aibot_send_msg", push("wrEngine", 2, "template_card", card("t")))
	var wg sync.WaitGroup
	for _, who := range []string{"zhang", "li"} {
		done := r.click(map[string]any{"from": who, "seq": 1, "key": "claim"})
		wg.Go(func() {
			if out := <-done; out["status"] != "replaced" {
				t.Errorf("%s: %v", who, out)
			}
		})
	}
	for range 2 {
		f := b.next()
		who := body(f)["from"].(map[string]any)["userid"].(string)
		if c := code(b.as(reqID(f), "aibot_respond_update_msg", update(taken("t", who)))); c != 0 {
			t.Errorf("%s: %d", who, c)
		}
	}
	wg.Wait()
	items, _ := r.chat(engine, 0)
	if items[0]["rev"].(float64) != 3 {
		t.Errorf("two replacements: %v", items[0])
	}
}

func TestCardSchema(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	n := 0
	with := func(change map[string]any) map[string]any {
		n++
		c := card("task" + strings.Repeat("x", n))
		maps.Copy(c, change)
		return c
	}
	many := func(n int, v func(i int) any) []any {
		var out []any
		for i := range n {
			out = append(out, v(i))
		}
		return out
	}
	letter := func(i int) string { return string(rune('a' + i)) }
	row := func(int) any { return map[string]any{"keyname": "时限", "value": "今天"} }
	btn := func(i int) any { return map[string]any{"text": "好", "key": letter(i)} }
	opt := func(i int) any { return map[string]any{"id": letter(i), "text": "好"} }
	title := func(s string) map[string]any { return map[string]any{"title": s} }
	for name, c := range map[string]struct {
		card map[string]any
		want int
	}{
		"good":                    {with(nil), 0},
		"no type":                 {with(map[string]any{"card_type": ""}), 40058},
		"no task_id":              {with(map[string]any{"task_id": ""}), 40058},
		"task_id with a #":        {with(map[string]any{"task_id": "case#1"}), 40058},
		"task_id 128":             {with(map[string]any{"task_id": strings.Repeat("t", 128)}), 0},
		"task_id 129":             {with(map[string]any{"task_id": strings.Repeat("t", 129)}), 40058},
		"title 26":                {with(map[string]any{"main_title": title(strings.Repeat("字", 26))}), 0},
		"title 27":                {with(map[string]any{"main_title": title(strings.Repeat("字", 27))}), 40058},
		"no title":                {with(map[string]any{"main_title": title("")}), 40058},
		"6 rows":                  {with(map[string]any{"horizontal_content_list": many(6, row)}), 0},
		"7 rows":                  {with(map[string]any{"horizontal_content_list": many(7, row)}), 40058},
		"long keyname":            {with(map[string]any{"horizontal_content_list": []any{map[string]any{"keyname": "六个字的名字", "value": "x"}}}), 40058},
		"long value":              {with(map[string]any{"horizontal_content_list": []any{map[string]any{"keyname": "摘要", "value": strings.Repeat("长", 27)}}}), 40058},
		"6 buttons":               {with(map[string]any{"button_list": many(6, btn)}), 0},
		"7 buttons":               {with(map[string]any{"button_list": many(7, btn)}), 40058},
		"no buttons":              {with(map[string]any{"button_list": []any{}}), 40058},
		"one key twice":           {with(map[string]any{"button_list": []any{btn(0), btn(0)}}), 40058},
		"long button":             {with(map[string]any{"button_list": []any{map[string]any{"text": strings.Repeat("长", 11), "key": "k"}}}), 40058},
		"style 5":                 {with(map[string]any{"button_list": []any{map[string]any{"text": "好", "key": "k", "style": 5}}}), 40058},
		"key 1025":                {with(map[string]any{"button_list": []any{map[string]any{"text": "好", "key": strings.Repeat("k", 1025)}}}), 40058},
		"4 jumps":                 {with(map[string]any{"jump_list": many(4, func(int) any { return map[string]any{"type": 0, "title": "x"} })}), 40058},
		"jump without address":    {with(map[string]any{"jump_list": []any{map[string]any{"type": 1, "title": "x", "url": "javascript:alert(1)"}}}), 40058},
		"11 options":              {with(map[string]any{"button_selection": map[string]any{"question_key": "q", "option_list": many(11, opt)}}), 40058},
		"10 options":              {with(map[string]any{"button_selection": map[string]any{"question_key": "q", "option_list": many(10, opt)}}), 0},
		"sub title 113":           {with(map[string]any{"sub_title_text": strings.Repeat("长", 113)}), 40058},
		"text_notice bare":        {map[string]any{"card_type": "text_notice", "main_title": title("通知")}, 42045},
		"text_notice":             {map[string]any{"card_type": "text_notice", "main_title": title("通知"), "card_action": map[string]any{"type": 1, "url": "https://example.com"}}, 0},
		"multiple without submit": {with(map[string]any{"card_type": "multiple_interaction", "button_list": nil, "select_list": []any{map[string]any{"question_key": "q", "option_list": many(2, opt)}}}), 40058},
		"multiple": {with(map[string]any{"card_type": "multiple_interaction", "button_list": nil, "submit_button": map[string]any{"text": "提交", "key": "s"},
			"select_list": []any{map[string]any{"question_key": "q", "option_list": many(2, opt)}}}), 0},
		"vote": {with(map[string]any{"card_type": "vote_interaction", "button_list": nil, "submit_button": map[string]any{"text": "提交", "key": "s"},
			"checkbox": map[string]any{"question_key": "q", "mode": 1, "option_list": many(20, opt)}}), 0},
		"number for a title": {with(map[string]any{"main_title": map[string]any{"title": 5}}), 40058},
	} {
		a := b.send("aibot_send_msg", push("wrEngine", 2, "template_card", c.card))
		if got := code(a); got != c.want {
			t.Errorf("%s: %d, want %d (%v)", name, got, c.want, a["errmsg"])
		}
		r.clock.Advance(3 * time.Second)
	}
}

func TestFaultsOfTheSocket(t *testing.T) {
	t.Parallel()
	send := func(b *bot) map[string]any {
		return b.send("aibot_send_msg", push("wrEngine", 2, "markdown", markdown("好")))
	}
	for name, c := range map[string]struct {
		fault    simcore.Fault
		accepted bool
		acked    bool
		code     int
		open     bool
	}{
		"errcode":            {simcore.Fault{Target: "wecom.send", Kind: "errcode", Code: "45009"}, false, true, 45009, true},
		"lost":               {simcore.Fault{Target: "wecom.send", Kind: "drop"}, false, false, 0, true},
		"ack lost":           {simcore.Fault{Target: "wecom.send", Kind: "timeout_after_accept"}, true, false, 0, true},
		"slow":               {simcore.Fault{Target: "wecom.send", Kind: "delay", MS: 20}, true, true, 0, true},
		"cut":                {simcore.Fault{Target: "wecom.send", Kind: "disconnect"}, true, false, 0, false},
		"not subscribed":     {simcore.Fault{Target: "wecom.socket", Kind: "errcode"}, false, true, 846609, true},
		"half open":          {simcore.Fault{Target: "wecom.socket", Kind: "drop"}, false, false, 0, true},
		"of another chat":    {simcore.Fault{Target: "wecom.send", Kind: "drop", Match: simcore.Match{ChatID: "wrQuiet"}}, true, true, 0, true},
		"of this chat":       {simcore.Fault{Target: "wecom.send", Kind: "drop", Match: simcore.Match{ChatID: "wrEngine"}}, false, false, 0, true},
		"cut each 2nd frame": {simcore.Fault{Target: "wecom.socket", Kind: "disconnect", Code: "2"}, true, true, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			b := r.connect()
			r.faults(c.fault)
			a := send(b)
			if (a != nil) != c.acked || c.acked && code(a) != c.code {
				t.Errorf("acknowledged with %v", a)
			}
			r.faults()
			items, _ := r.chat(engine, 0)
			if (len(items) == 1) != c.accepted {
				t.Errorf("accepted: %v", items)
			}
			if c.open {
				if a := b.send("ping", nil); code(a) != 0 {
					t.Errorf("afterwards: %v", a)
				}
				return
			}
			b.closed()
		})
	}
}

func TestDisconnectEveryNthFrame(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.faults(simcore.Fault{Target: "wecom.socket", Kind: "disconnect", Code: "3"})
	accepted := 0
	for range 4 {
		b := r.connect()
		for range 3 {
			b.send("aibot_send_msg", push("wrEngine", 2, "markdown", markdown("好")))
			accepted++
		}
		b.closed()
	}
	items, _ := r.chat(engine, 0)
	if len(items) != accepted {
		t.Errorf("%d of %d were taken before the line broke", len(items), accepted)
	}
}

func TestFaultsOfCallbacks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	r.faults(simcore.Fault{Target: "wecom.callback", Kind: "duplicate"})
	r.say(engine, "zhang", "@管家 帮助")
	one, two := b.next(), b.next()
	if body(one)["msgid"] != body(two)["msgid"] || reqID(one) == reqID(two) {
		t.Errorf("a duplicate has the same msgid and its own req_id: %v %v", one, two)
	}
	r.faults(simcore.Fault{Target: "wecom.callback", Kind: "drop"})
	if out := r.say(engine, "zhang", "@管家 帮助"); out["heard"] != false {
		t.Errorf("a lost callback was heard: %v", out)
	}
	b.nothing()
	r.faults(simcore.Fault{Target: "wecom.callback", Kind: "delay", MS: 30})
	if out := r.say(engine, "zhang", "@管家 帮助"); out["heard"] != true {
		t.Errorf("%v", out)
	}
	b.next()
	r.faults(simcore.Fault{Target: "wecom.callback", Kind: "disconnect"})
	r.say(engine, "zhang", "@管家 帮助")
	b.next()
	b.closed()
}

func TestHeardByABotThatJustReconnects(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	done := make(chan map[string]any, 1)
	go func() { done <- r.say(engine, "zhang", "@管家 帮助") }()
	b := r.connect()
	b.next()
	if out := <-done; out["heard"] != true {
		t.Errorf("%v", out)
	}
}

func TestDuplicatesAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	b.send("aibot_send_msg", push("wrEngine", 2, "template_card", card("a")))
	if d := r.core.Counters.Report().Duplicates.Content; len(d) != 0 {
		t.Fatalf("%v", d)
	}
	b.send("aibot_send_msg", push("wrEngine", 2, "template_card", card("b")))
	if d := r.core.Counters.Report().Duplicates.Content; len(d) != 1 || d[0].Address != "wrEngine" || d[0].N != 2 {
		t.Errorf("the same card under a new task_id: %v", d)
	}
	for range 2 {
		r.say(engine, "zhang", "@管家 帮助")
		b.as(reqID(b.next()), "aibot_respond_msg", map[string]any{"msgtype": "markdown", "markdown": markdown("说明")})
	}
	if d := r.core.Counters.Report().Duplicates.Content; len(d) != 1 {
		t.Errorf("the same answer to two questions is no duplicate: %v", d)
	}
	r.say(engine, "zhang", "@管家 帮助")
	id := reqID(b.next())
	for range 2 {
		b.as(id, "aibot_respond_msg", map[string]any{"msgtype": "markdown", "markdown": markdown("说明")})
	}
	if d := r.core.Counters.Report().Duplicates.Content; len(d) != 2 {
		t.Errorf("the same answer twice to one question: %v", d)
	}
}
