package simcore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFeed(t *testing.T) {
	t.Parallel()
	type item struct {
		Seq int64
		Rev int
	}
	f := NewFeed[item](3)
	add := func() int64 { return f.Append(func(seq int64) item { return item{seq, 0} }) }
	for range 3 {
		add()
	}
	if items, last := f.After(1); last != 3 || !reflect.DeepEqual(items, []item{{2, 0}, {3, 0}}) {
		t.Fatalf("after 1: %v %d", items, last)
	}
	if !f.Update(1, func(i *item) { i.Rev++ }) {
		t.Fatal("update")
	}
	if items, last := f.After(3); last != 4 || !reflect.DeepEqual(items, []item{{1, 1}}) {
		t.Fatalf("a changed item keeps its number and comes again: %v %d", items, last)
	}
	if items, _ := f.After(0); !reflect.DeepEqual(items, []item{{2, 0}, {3, 0}, {1, 1}}) {
		t.Fatalf("all: %v", items)
	}
	if seq := add(); seq != 5 {
		t.Fatalf("next number %d", seq)
	}
	if items, _ := f.After(0); !reflect.DeepEqual(items, []item{{2, 0}, {3, 0}, {5, 0}}) {
		t.Fatalf("only the newest three are kept: %v", items)
	}
	if f.Update(1, func(*item) {}) || f.Touch(1, func(*item) {}) {
		t.Error("changed an item that is gone")
	}
	if f.Touch(5, func(i *item) { i.Rev = 9 }); len(first2(f.After(5))) != 0 {
		t.Error("a touched item came again")
	}
	for range 1000 {
		f.Update(5, func(*item) {})
	}
	if n := len(f.order); n > 2*f.limit+16 {
		t.Errorf("%d marks kept for 3 items", n)
	}
}

func first2[T any](items []T, _ int64) []T { return items }

func TestFeedWaits(t *testing.T) {
	t.Parallel()
	f := NewFeed[int64](10)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			items, _ := f.Wait(t.Context(), 0)
			if len(items) != 1 {
				t.Errorf("woken with %v", items)
			}
		})
	}
	f.Append(func(seq int64) int64 { return seq })
	wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if items, last := f.Wait(ctx, 1); len(items) != 0 || last != 1 {
		t.Errorf("%v %d", items, last)
	}
}

func TestFaultsTake(t *testing.T) {
	t.Parallel()
	var f Faults
	if f.Take("sms.send", Match{}) != nil {
		t.Error("struck without a fault")
	}
	err := f.Set([]Fault{
		{Target: "sms.send", Kind: FaultErrcode, Times: 2, Match: Match{Phone: "138*,13900000001"}},
		{Target: "sms.send", Kind: FaultReceipt},
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.Take("sms.send", Match{Phone: "13700000000"}) != nil || f.Take("sms.query", Match{Phone: "13800000000"}) != nil {
		t.Error("struck another call")
	}
	for i := range 3 {
		if hit := f.Take("sms.send", Match{Phone: "13800000000"}); (hit != nil) != (i < 2) {
			t.Errorf("call %d: %v", i, hit)
		}
	}
	if hit := f.Take("sms.send", Match{}, FaultReceipt); hit == nil || hit.Kind != FaultReceipt {
		t.Error("receipt")
	}
	if list := f.List(); list[0].Struck != 2 || list[1].Struck != 1 {
		t.Errorf("list %+v", list)
	}
	if err := f.Set([]Fault{{Target: "x", Kind: FaultDrop}}); err == nil || len(f.List()) != 2 {
		t.Error("a bad list was taken or lost the good one")
	}
}

func TestFaultShare(t *testing.T) {
	t.Parallel()
	share := 0.1
	run := func(seed uint64) (n int, which string) {
		var f Faults
		if err := f.Set([]Fault{{Target: "sms.send", Kind: FaultDrop, Share: &share, Seed: seed}}); err != nil {
			t.Fatal(err)
		}
		for i := range 5000 {
			if f.Take("sms.send", Match{Phone: fmt.Sprintf("138%08d", i)}) != nil {
				n++
				which += fmt.Sprint(i, " ")
			}
		}
		return n, which
	}
	n, a := run(7)
	_, b := run(7)
	_, c := run(8)
	if n < 400 || n > 600 {
		t.Errorf("a tenth of 5000 was %d", n)
	}
	if a != b || a == c {
		t.Error("the seed does not decide")
	}
}

func TestFaultJSON(t *testing.T) {
	t.Parallel()
	var list []Fault
	in := `[{"target":"sms.report","kind":"receipt","share":0.5,"times":3,"seed":7,"match":{"phone":["1","2"]},"code":"IS_CLOSE","ms":5},
	        {"target":"wechat.custom_send","kind":"errcode","code":45015}]`
	if err := json.Unmarshal([]byte(in), &list); err != nil {
		t.Fatal(err)
	}
	if list[0].Code != "IS_CLOSE" || list[0].Match.Phone != "1,2" || list[1].Code.Int(0) != 45015 {
		t.Errorf("%+v", list)
	}
	out, err := json.Marshal(list[1])
	if err != nil || string(out) != `{"target":"wechat.custom_send","kind":"errcode","code":45015}` {
		t.Errorf("%s %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"match":{"colour":"red"}}`), &Fault{}); err == nil {
		t.Error("an unknown match was taken")
	}
}

func TestWorldTakesShortForms(t *testing.T) {
	t.Parallel()
	var w World
	in := `{"accounts":[{"app_id":"a","templates":["TM1",{"template_id":"TM2","content":"{{thing1.DATA}} {{time2.DATA}}"}]}],
	        "sms":[{"access_key_id":"k","signs":["甲",{"sign_name":"乙","status":0}],"templates":["SMS_1",{"code":"SMS_2","content":"${a}"}]}],
	        "residents":[{"openid":"o1","bound_to":"3-2-1201"},{"openid":"o2","bound_to":["a","b"]},{"openid":"o3","bound_to":null}]}`
	if err := json.Unmarshal([]byte(in), &w); err != nil {
		t.Fatal(err)
	}
	if w.Accounts[0].Templates[0].TemplateID != "TM1" || !reflect.DeepEqual(w.Accounts[0].Templates[1].Keys(), []string{"thing1", "time2"}) {
		t.Errorf("templates %+v", w.Accounts[0].Templates)
	}
	if s := w.SMS[0]; s.Signs[0].Name != "甲" || *s.Signs[1].Status != 0 || s.Templates[0].Code != "SMS_1" || s.Templates[1].Code != "SMS_2" || s.Templates[1].Content != "${a}" {
		t.Errorf("sms %+v", s)
	}
	if !reflect.DeepEqual(w.Residents[0].BoundTo, []string{"3-2-1201"}) || w.Residents[2].BoundTo != nil {
		t.Errorf("residents %+v", w.Residents)
	}
	if c := w.Clone(); !reflect.DeepEqual(c.SMS[0].Signs, w.SMS[0].Signs) {
		t.Errorf("clone %+v", c.SMS)
	}
}

func TestCounters(t *testing.T) {
	t.Parallel()
	c := NewCounters()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			c.Call("sms.send", "ok")
			c.Address("sms", "1")
			c.OutID("same")
			c.OutID(fmt.Sprint("own", i))
			c.OutID("")
			c.Content("1", "sum")
			c.Content(fmt.Sprint(i), "sum2")
		})
	}
	wg.Wait()
	r := c.Report()
	want := Report{
		Calls: []CallCount{{"sms.send", "ok", 4}}, Addresses: []AddressCount{{"sms", "1", 4}},
		Duplicates: Duplicates{OutID: []OutIDCount{{"same", 4}}, Content: []ContentCount{{"1", "sum", 4}}},
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("%+v", r)
	}
	c.Reset()
	if b, _ := json.Marshal(c.Report()); string(b) != `{"calls":[],"addresses":[],"duplicates":{"out_id":[],"content":[]}}` {
		t.Errorf("empty: %s", b)
	}
}

// stepClock is a clock that a test moves.
type stepClock struct {
	mu   sync.Mutex
	now  time.Time
	wake chan struct{}
}

func newStepClock() *stepClock { return &stepClock{now: time.Unix(0, 0), wake: make(chan struct{})} }

func (c *stepClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *stepClock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	close(c.wake)
	c.wake = make(chan struct{})
}

func (c *stepClock) Sleep(ctx context.Context, d time.Duration) error {
	until := c.Now().Add(d)
	for {
		c.mu.Lock()
		done, wake := !c.now.Before(until), c.wake
		c.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestTimers(t *testing.T) {
	t.Parallel()
	clk := newStepClock()
	c := New(clk, nil)
	var ran atomic.Int64
	ring := make(chan string, 10)
	c.Timers.After(2*time.Second, func(context.Context) { ring <- "late" })
	c.Timers.After(time.Second, func(context.Context) { ring <- "early" }) // wakes the waiter
	clk.move(time.Second)
	if got := <-ring; got != "early" {
		t.Fatalf("%s came first", got)
	}
	clk.move(time.Second)
	if got := <-ring; got != "late" {
		t.Fatalf("then %s", got)
	}
	for range 100 {
		c.Timers.After(time.Hour, func(context.Context) {
			ran.Add(1)
			c.Timers.After(0, func(context.Context) { ran.Add(1) }) // due at once, so settled too
		})
	}
	clk.move(time.Hour)
	if err := c.Timers.Settle(t.Context()); err != nil || ran.Load() != 200 {
		t.Errorf("settled with %d of 200, %v", ran.Load(), err)
	}
	c.Timers.After(time.Hour, func(context.Context) { t.Error("cleared, but ran") })
	c.Timers.Clear()
	clk.move(2 * time.Hour)
	if err := c.Timers.Settle(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	c.Timers.After(0, func(context.Context) { t.Error("ran after Stop") })
	if c.Go(func(context.Context) {}) {
		t.Error("started after Stop")
	}
}

func TestSettleEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c := New(newStepClock(), nil)
	c.Timers.After(0, func(ctx context.Context) { <-ctx.Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := c.Timers.Settle(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("settle: %v", err)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStopEndsAHangingCall(t *testing.T) {
	t.Parallel()
	c := New(newStepClock(), nil)
	if err := c.Faults.Set([]Fault{{Target: "sms.send", Kind: FaultTimeoutBefore}}); err != nil {
		t.Fatal(err)
	}
	inside := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(inside)
		c.Apply(w, r, "sms.send", Match{}, nil, func() Response { return Response{} })
	}))
	defer s.Close()
	ended := make(chan error, 1)
	go func() {
		resp, err := s.Client().Get(s.URL)
		if err == nil {
			resp.Body.Close()
		}
		ended <- err
	}()
	<-inside
	if err := c.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("a hanging call was answered")
	}
}
