package simwecom_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"guanjia/internal/sandbox/simcore"
	"guanjia/internal/sandbox/simwecom"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	status, out := r.call("POST", "/sim/groups", map[string]any{"name": "新群", "members": []string{"zhang", "li"}})
	id, _ := out["chatid"].(string)
	if status != http.StatusCreated || id == "" || strings.ToLower(id) == id {
		t.Fatalf("%d %v", status, out)
	}
	if list := out["groups"].([]any); len(list) != 1 || list[0].(map[string]any)["chatid"] != id {
		t.Errorf("%v", out)
	}
	_, all := r.call("GET", "/sim/groups", nil)
	if n := len(all["groups"].([]any)); n != 4 {
		t.Errorf("%d groups", n)
	}
	for name, body := range map[string]map[string]any{
		"no name":  {"members": []string{"zhang"}},
		"stranger": {"name": "x", "members": []string{"nobody"}},
	} {
		if status, _ := r.call("POST", "/sim/groups", body); status != http.StatusBadRequest {
			t.Errorf("%s: %d", name, status)
		}
	}
	b := r.connect()
	if c := code(b.send("aibot_send_msg", push(id, 2, "markdown", markdown("x")))); c != 93001 {
		t.Errorf("nobody spoke in the new group: %d", c)
	}
	r.say("/sim/groups/"+id, "zhang", "@管家 绑定 工程")
	b.next()
	if c := code(b.send("aibot_send_msg", push(id, 2, "markdown", markdown("x")))); c != 0 {
		t.Errorf("somebody spoke: %d", c)
	}
	r.call("PUT", "/sim/groups/"+id, map[string]any{"bots": []string{}})
	if c := code(b.send("aibot_send_msg", push(id, 2, "markdown", markdown("x")))); c != 93008 {
		t.Errorf("the bot was taken out: %d, want 93008", c)
	}
}

func TestRefusedControl(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, c := range map[string]struct {
		method, path string
		body         any
		want         int
	}{
		"unknown group":    {"POST", "/sim/groups/nope/messages", map[string]any{"from": "zhang", "text": "x"}, 404},
		"other case":       {"GET", "/sim/groups/wrengine/chat", nil, 404},
		"unknown member":   {"POST", "/sim/staff/nobody/messages", map[string]any{"text": "x"}, 404},
		"not in the group": {"POST", quiet + "/messages", map[string]any{"from": "li", "text": "x"}, 400},
		"nothing said":     {"POST", engine + "/messages", map[string]any{"from": "zhang"}, 400},
		"not JSON":         {"POST", engine + "/messages", "{", 400},
		"bad picture":      {"POST", engine + "/messages", map[string]any{"from": "zhang", "image": "***"}, 400},
		"voice in a group": {"POST", engine + "/messages", map[string]any{"from": "zhang", "voice": "喂"}, 400},
		"bad after":        {"GET", engine + "/chat?after=x", nil, 400},
		"64 KiB and more":  {"POST", engine + "/messages", map[string]any{"from": "zhang", "text": strings.Repeat("x", 65537)}, 400},
	} {
		status, out := r.call(c.method, c.path, c.body)
		if status != c.want || out["error"] == nil {
			t.Errorf("%s: %d %v", name, status, out)
		}
	}
}

func TestLongTextIsHeardWhole(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	text := "@管家 #100231 " + strings.Repeat("长", 5000)
	r.say(engine, "zhang", text)
	if got := body(b.next())["text"].(map[string]any)["content"]; got != text {
		t.Error("5,000 characters did not arrive whole")
	}
}

func TestWorld(t *testing.T) {
	t.Parallel()
	core := simcore.New(nil, nil)
	s := simwecom.New(core)
	if err := s.LoadWorld(world()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(w *simcore.World){
		"bots[0].secret":            func(w *simcore.World) { w.Bots[0].Secret = "" },
		"bots[0].name":              func(w *simcore.World) { w.Bots[0].Name = "" },
		"bots[1].bot_id":            func(w *simcore.World) { w.Bots[1].BotID = "bot1" },
		"groups[1].chatid":          func(w *simcore.World) { w.Groups[1].ChatID = "wrEngine" },
		"groups[0].members":         func(w *simcore.World) { w.Groups[0].Members = []string{""} },
		"webhooks[0].key":           func(w *simcore.World) { w.Webhooks[0].Key = "" },
		"staff[1].userid":           func(w *simcore.World) { w.Staff[1].UserID = "zhang" },
		"corps[0].corp_id":          func(w *simcore.World) { w.Corps[0].Secret = "" },
		"corps[0].encoding_aes_key": func(w *simcore.World) { w.Corps[0].EncodingAESKey = "short" },
	} {
		w := world()
		change(&w)
		err := s.LoadWorld(w)
		var bad *simcore.BadInput
		if !errors.As(err, &bad) || bad.Field != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	var w simcore.World
	s.WriteWorld(&w)
	if len(w.Bots) != 2 || len(w.Groups) != 3 || len(w.Staff) != 2 || !w.Groups[0].Spoken || w.Groups[1].Spoken || !w.Staff[1].Spoken {
		t.Errorf("a refused world changed something: %+v", w)
	}
	s.Reset(true)
	s.WriteWorld(&w)
	if len(w.Bots) != 0 || len(w.Groups) != 0 {
		t.Error("reset to nothing left something")
	}
	s.Reset(false)
	s.WriteWorld(&w)
	if len(w.Bots) != 2 || len(w.Groups) != 3 {
		t.Error("reset did not restore the world")
	}
}

func TestResetEndsTheLines(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.connect()
	r.sim.Reset(false)
	b.closed()
	r.connect()
}
