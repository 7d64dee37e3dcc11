package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"guanjia/bot/intent"
	"guanjia/internal/desk"
	"guanjia/internal/embedded/redistest"
	"guanjia/internal/telemetry/telemetrytest"
)

func TestMain(m *testing.M) {
	// The crash tests start this binary again as a node that dies at a point.
	if slices.Contains(os.Args, "serve-killed") {
		os.Exit(start(os.Args[1:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// perform runs a mode and reads its one line of figures.
func perform(t *testing.T, figures any, mode interface{ Run(r run) error }) {
	t.Helper()
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	if err := mode.Run(run{Context: ctx, log: telemetrytest.Capture(t).Logger, stdout: &out, stderr: os.Stderr}); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	if err := json.Unmarshal(out.Bytes(), figures); err != nil {
		t.Fatalf("figures: %v in %s", err, out.Bytes())
	}
}

// The mixes are only what they say if the product reads the words so.
func TestWordsAreReadAsMeant(t *testing.T) {
	t.Parallel()
	c, err := intent.New()
	if err != nil {
		t.Fatal(err)
	}
	polite := []string{intent.IntentThanks, intent.IntentGreeting, intent.IntentFarewell}
	for _, text := range courtesies() {
		if r := c.Classify(intent.Input{Text: text}); !slices.Contains(polite, r.Intent) || r.Also != nil {
			t.Errorf("%s is read as %s", text, r.Intent)
		}
	}
	for _, text := range matters() {
		if r := c.Classify(intent.Input{Text: text}); (r.Intent != intent.IntentRepair && r.Intent != intent.IntentComplaint) || r.Emergency {
			t.Errorf("%s is read as %s, emergency %v", text, r.Intent, r.Emergency)
		}
	}
}

func TestAwayTextIsNoAnswer(t *testing.T) {
	t.Parallel()
	c, err := loadCourtesy()
	if err != nil {
		t.Fatal(err)
	}
	if !c.is(c.before + "0571-88886666" + c.after) {
		t.Error("the text of an away database is not recognized with another number")
	}
	if c.is("不客气") || c.before == "" || c.after == "" {
		t.Error("any text is taken for the one of an away database")
	}
}

func TestStoredNumbersAreValid(t *testing.T) {
	t.Parallel()
	for n := range int64(50) {
		if no := checked(firstStored + n); !desk.ValidNo(no) {
			t.Errorf("%s is no case number", no)
		}
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	var s series
	for i := range 100 {
		s.took = append(s.took, time.Duration(100-i)*time.Millisecond)
	}
	s.errors, s.lasted = 3, 2*time.Second
	f := s.figures("x")
	if f.Requests != 103 || f.OK != 100 || f.Errors != 3 || f.PerSecond != 50 || f.P50 != 51 || f.P99 != 100 || f.Max != 100 {
		t.Errorf("figures %+v", f)
	}
}

func TestBalance(t *testing.T) {
	t.Parallel()
	lost, doubled := balance(map[string]int64{"a": 2, "b": 1, "c": 1}, map[string]int64{"a": 1, "b": 1, "d": 1, "c": 3})
	if lost != 1 || doubled != 3 {
		t.Errorf("lost %d doubled %d", lost, doubled)
	}
}

// TestWeigh: what is missing, what came twice, and what a kill excuses.
func TestWeigh(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	line := func(kind, text string, s int) chatItem {
		return chatItem{From: "account", Kind: kind, Text: text, At: noon.Add(time.Duration(s) * time.Second)}
	}
	const opened, notice1 = "已登记 #100000", "张师傅已接单 #100000"
	for name, tt := range map[string]struct {
		items []chatItem
		cases int64
		kills []time.Time
		want  verdict
	}{
		"all well":            {items: []chatItem{line("passive", opened, 1), line("passive", "不客气", 2), line("service", notice1, 3)}, cases: 1},
		"an answer lost":      {items: []chatItem{line("passive", opened, 1), line("service", notice1, 3)}, cases: 1, want: verdict{lostAnswers: 1}},
		"the case lost":       {items: []chatItem{line("passive", "不客气", 2), line("service", notice1, 3)}, want: verdict{lostAnswers: 1}},
		"an answer doubled":   {items: []chatItem{line("passive", opened, 1), line("service", opened, 2), line("passive", "不客气", 2), line("service", notice1, 3)}, cases: 1, want: verdict{doubled: 1}},
		"by a kill":           {items: []chatItem{line("passive", opened, 1), line("service", opened, 22), line("passive", "不客气", 9), line("service", notice1, 30)}, cases: 1, kills: []time.Time{noon.Add(time.Second)}, want: verdict{allowed: 1}},
		"a second case":       {items: []chatItem{line("passive", opened, 1), line("passive", "不客气", 2), line("service", notice1, 3)}, cases: 2, want: verdict{doubledCases: 1}},
		"a notice lost":       {items: []chatItem{line("passive", opened, 1), line("passive", "不客气", 2)}, cases: 1, want: verdict{lostNotices: 1}},
		"a notice twice":      {items: []chatItem{line("passive", opened, 1), line("passive", "不客气", 2), line("service", notice1, 3), line("service", notice1, 4)}, cases: 1, want: verdict{doubled: 1}},
		"an away text counts": {items: []chatItem{line("passive", "稍后", 1), line("service", opened, 9), line("passive", "不客气", 10), line("service", notice1, 13)}, cases: 1, want: verdict{awayTexts: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &books{away: courtesyText{before: "稍", after: "后"}, kills: tt.kills}
			talk := &talk{courtesies: 1, matters: 1}
			if got := talk.weigh(tt.items, tt.cases, map[string]notice{notice1: {planned: 1, arrived: 1}}, b); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestInbound pushes both mixes at a demo of its own, and the bare server
// beside it, with some closed cases in the database.
func TestInbound(t *testing.T) {
	t.Parallel()
	for _, mix := range []string{"chat", "case"} {
		t.Run(mix, func(t *testing.T) {
			t.Parallel()
			var f inboundFigures
			perform(t, &f, &inboundCmd{Seconds: 1, Mix: mix, Clients: 4, Compare: true, Stored: 1200, Residents: 500})
			if f.OK == 0 || f.Errors != 0 || f.Lost != 0 || f.Doubled != 0 || f.Bare == nil || f.Bare.OK == 0 || f.Bare.Errors != 0 {
				t.Errorf("figures %+v bare %+v", f, f.Bare)
			}
		})
	}
}

// TestBroadcast tells a small house by both channels, with an emergency in the
// middle, and the bare loop beside it.
func TestBroadcast(t *testing.T) {
	t.Parallel()
	var f broadcastFigures
	perform(t, &f, &broadcastCmd{Residents: 200, Channels: []string{"sms", "template"}, Kind: "general", Emergency: 10, Compare: true, Clients: 4})
	if f.Audience == nil || f.Audience.SMS == 0 || f.Audience.Template == 0 || f.Emergency == nil || f.Bare == nil {
		t.Fatalf("figures %+v", f)
	}
	if f.Lost != 0 || f.Doubled != 0 || f.Duplicates != 0 || f.Errors != 0 || f.Submitted != f.Requests || f.Delivered != f.Audience.messages() {
		t.Errorf("figures %+v", f)
	}
	if f.Emergency.AllMS < f.Emergency.FirstMS || f.Emergency.FirstMS == 0 || f.FirstSMSMS == 0 || f.FinishedMS < f.SubmittedMS || f.BareSnapshotMS == 0 {
		t.Errorf("times %+v, emergency %+v", f, f.Emergency)
	}
	if f.Bare.OK != f.Requests || f.Bare.Errors != 0 {
		t.Errorf("bare loop %+v", f.Bare)
	}
}

func TestBareBroadcast(t *testing.T) {
	t.Parallel()
	var f broadcastFigures
	perform(t, &f, &broadcastCmd{Residents: 50, Bare: true, Clients: 4})
	if f.OK != 50 || f.Errors != 0 || f.P99 == 0 {
		t.Errorf("figures %+v", f)
	}
}

func TestBroadcastRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]broadcastCmd{
		"bare with an emergency":       {Residents: 1, Clients: 1, Bare: true, Emergency: 1},
		"servers for another's":        {Residents: 1, Clients: 1, Ready: "x", Servers: true},
		"more than the platform's day": {Residents: 1_000_000, Clients: 1, Channels: []string{"sms", "template"}},
	} {
		if c.check() == nil {
			t.Errorf("%s is not refused", name)
		}
	}
}

// TestTally: what is lost or doubled is seen, also where one hides the other.
func TestTally(t *testing.T) {
	t.Parallel()
	a, b, c := address{"sms", "a"}, address{"sms", "b"}, address{"template", "c"}
	before := tally{addresses: map[address]int64{a: 1}}
	after := tally{addresses: map[address]int64{a: 3, c: 1}, repeated: 1}
	n := noticeView{Audience: noticeAudience{SMS: 2, Template: 1}}
	w := &watch{out: &broadcastFigures{FinishedMS: 1000}}
	w.judge(before, after, n, noticeView{Counts: map[string]int64{"delivered": 2, "failed": 1}})
	if w.out.Lost != 1 || w.out.Doubled != 1 || w.out.Duplicates != 1 || w.out.OK != 2 || w.out.Receipts != 3 {
		t.Errorf("%s got it twice and %s not at all: %+v", a.to, b.to, w.out)
	}
}

func TestAwake(t *testing.T) {
	t.Parallel()
	night := time.Date(2026, 11, 25, 18, 30, 0, 0, time.UTC) // 2:30 on the 26th in China
	if got := awake(night); !got.Equal(time.Date(2026, 11, 26, 2, 0, 0, 0, time.UTC)) {
		t.Errorf("a broadcast at night starts at %s", got)
	}
	if day := night.Add(10 * time.Hour); !awake(day).Equal(day) {
		t.Error("a broadcast by day does not start now")
	}
}

func TestInboundAtARateFromAReadyLine(t *testing.T) {
	t.Parallel()
	if err := (&inboundCmd{Clients: 1, Seconds: 1, Ready: "x", Stored: 1}).check(); err == nil {
		t.Error("--stored with --ready is not refused: it would write into a stranger's database")
	}
	path := filepath.Join(t.TempDir(), "ready.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := (&inboundCmd{Ready: path, Clients: 1, Seconds: 1, Rate: 1}).Run(run{Context: t.Context(), log: telemetrytest.Capture(t).Logger, stdout: os.Stdout, stderr: os.Stderr})
	if err == nil {
		t.Error("half a ready line is taken for a whole one")
	}
}

func TestQueue(t *testing.T) {
	t.Parallel()
	s := redistest.NewServer(t)
	var f queueFigures
	perform(t, &f, &queueCmd{Redis: s.URL(), Claimers: 16, Seconds: 1, Races: 20, Compare: true})
	if f.OK == 0 || f.Errors != 0 || f.DoubleClaims != 0 || f.NotClaimed != 0 || f.Bare == nil || f.Bare.OK == 0 {
		t.Errorf("figures %+v", f)
	}
	if n := s.Client(t).DBSize(t.Context()).Val(); n > 1 {
		t.Errorf("%d keys are left behind", n)
	}
}
