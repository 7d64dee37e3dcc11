package page_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"

	"guanjia/internal/clock"
	"guanjia/internal/sandbox"
	"guanjia/internal/sandbox/simcore"
)

// steward is a stand-in for the product: it greets, opens a case for whatever is
// said, shows a card and lets it be claimed. The words are those of a test.
type steward struct {
	t     *testing.T
	base  string // of the sandbox
	mu    sync.Mutex
	cases int
	ws    *websocket.Conn
	wg    sync.WaitGroup
}

var tagOf = regexp.MustCompile(`<(\w+)>(?:<!\[CDATA\[)?([^<\]]*)`)

// ServeHTTP answers the official account's callback in plain mode.
func (s *steward) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	in := map[string]string{}
	for _, m := range tagOf.FindAllStringSubmatch(string(b), -1) {
		in[m[1]] = m[2]
	}
	text := ""
	switch {
	case in["Event"] == "subscribe":
		text = "您好,这里是翠湖花园物业服务。回复「绑定 房号 手机号」绑定房屋,例如:绑定 3-2-1201 13800000001。\n有急事直接说,我们 24 小时在。"
	case in["MsgType"] != "text":
	case strings.HasPrefix(in["Content"], "绑定"):
		text = "如果这个号码登记过,您会收到六位验证码,把它发给我就绑好了。"
	case len(in["Content"]) == 6:
		text = "绑定好了:3-2-1201。以后直接说事就行。"
	default:
		no := s.open()
		text = fmt.Sprintf("记下了:3栋电梯故障,单号 #%s。已转工程部,15 分钟内有人联系您。如有人被困请立即拨打 400-000-0000。", no)
		s.wg.Go(func() { s.card(no) })
	}
	if text == "" {
		_, _ = io.WriteString(w, "success")
		return
	}
	fmt.Fprintf(w, "<xml><ToUserName><![CDATA[%s]]></ToUserName><FromUserName><![CDATA[%s]]></FromUserName><CreateTime>1</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[%s]]></Content></xml>",
		in["FromUserName"], in["ToUserName"], text)
}

func (s *steward) open() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cases++
	return fmt.Sprintf("%d", 100200+31*s.cases)
}

func caseCard(no, state, owner string, buttons bool) map[string]any {
	c := map[string]any{
		"card_type": "button_interaction", "task_id": "case-" + no,
		"source":     map[string]any{"desc": "工程队列"},
		"main_title": map[string]any{"title": "#" + no + " 电梯故障", "desc": "3-2-1201 · " + state},
		"horizontal_content_list": []any{
			map[string]any{"keyname": "报事人", "value": "小林"},
			map[string]any{"keyname": "时限", "value": "15 分钟内答复"},
			map[string]any{"keyname": "处理人", "value": owner},
			map[string]any{"keyname": "内容", "value": "三栋电梯又坏了,老人下不了楼"},
		},
	}
	list := []any{map[string]any{"text": "转派", "key": "transfer:" + no, "style": 2}, map[string]any{"text": "完成", "key": "done:" + no, "style": 2}}
	if buttons {
		list = append([]any{map[string]any{"text": "接单", "key": "claim:" + no, "style": 1}}, list...)
	}
	c["button_list"] = list
	return c
}

func (s *steward) card(no string) {
	s.send("aibot_send_msg", "card"+no, map[string]any{"chatid": "wrEngine", "chat_type": 2, "msgtype": "template_card", "template_card": caseCard(no, "待接单", "未定", true)})
	s.send("aibot_send_msg", "line"+no, map[string]any{"chatid": "wrEngine", "chat_type": 2, "msgtype": "markdown", "markdown": map[string]any{
		"content": "**#" + no + "** 回复住户:`@管家 #" + no + " 内容`\n> 只有带单号的话才会发给住户",
	}})
}

func (s *steward) send(cmd, id string, body any) {
	b, err := json.Marshal(map[string]any{"cmd": cmd, "headers": map[string]any{"req_id": id}, "body": body})
	if err != nil {
		s.t.Error(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.ws.Write(context.Background(), websocket.MessageText, b)
}

// connect opens the bot's line and answers clicks and messages.
func (s *steward) connect() {
	ws, _, err := websocket.Dial(context.Background(), "ws"+strings.TrimPrefix(s.base, "http")+"/openws.work.weixin.qq.com", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.ws = ws
	s.send("aibot_subscribe", "sub", map[string]any{"bot_id": "bot1", "secret": "s"})
	s.wg.Go(func() {
		for {
			_, data, err := ws.Read(context.Background())
			if err != nil {
				return
			}
			s.hear(data)
		}
	})
}

func (s *steward) hear(data []byte) {
	var f struct {
		Cmd     string `json:"cmd"`
		Headers struct {
			ReqID string `json:"req_id"`
		} `json:"headers"`
		Body struct {
			From struct {
				UserID string `json:"userid"`
			} `json:"from"`
			Text struct {
				Content string `json:"content"`
			} `json:"text"`
			Event struct {
				Card struct {
					Key string `json:"event_key"`
				} `json:"template_card_event"`
			} `json:"event"`
		} `json:"body"`
	}
	if json.Unmarshal(data, &f) != nil {
		return
	}
	switch f.Cmd {
	case "aibot_event_callback":
		_, no, _ := strings.Cut(f.Body.Event.Card.Key, ":")
		s.send("aibot_respond_update_msg", f.Headers.ReqID, map[string]any{"response_type": "update_template_card", "template_card": caseCard(no, "处理中", "张建国", false)})
	case "aibot_msg_callback":
		s.send("aibot_respond_msg", f.Headers.ReqID, map[string]any{"msgtype": "markdown", "markdown": map[string]any{"content": "已发送给住户 小**,五秒内可 `撤回`。"}})
	}
}

// inbox stands for the SMS simulator, whose calls need the vendor's signature.
func inbox(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/sim/sms" {
			next.ServeHTTP(w, r)
			return
		}
		items := []any{
			map[string]any{"seq": 1, "at": time.Now(), "phone": "13800000001", "sign": "翠湖物业", "template": "SMS_1", "text": "您的验证码是 482913,5 分钟内有效,请勿告诉他人。", "segments": 1, "biz_id": "b^1", "state": "delivered"},
			map[string]any{"seq": 2, "at": time.Now(), "phone": "13800000002", "sign": "翠湖物业", "template": "SMS_2", "text": "3栋今日14:00至17:00停水,请提前蓄水。", "segments": 1, "biz_id": "b^2", "state": "failed", "err_code": "MK:0001"},
		}
		if r.URL.Query().Get("after") != "0" {
			items = []any{}
		}
		simcore.WriteJSON(w, http.StatusOK, map[string]any{"items": items, "last_seq": 2})
	})
}

func world(callback string) simcore.World {
	return simcore.World{
		Accounts: []simcore.Account{{AppID: "wx0000000000000001", Secret: "s", Token: "token", Mode: "plain", OriginalID: "gh_1", CallbackURLs: []string{callback}}},
		Bots:     []simcore.Bot{{BotID: "bot1", Secret: "s", Name: "管家"}},
		Webhooks: []simcore.Webhook{{Key: "k", ChatID: "wrEngine"}},
		Residents: []simcore.Resident{
			{OpenID: "o1", Nickname: "陈阿姨", Following: true, Phone: "13800000010", BoundTo: []string{"1-1-101"}},
			{OpenID: "o2", Nickname: "老周", Following: true, Phone: "13800000011", BoundTo: []string{"3-1-502", "4-2-301"}},
		},
		Staff: []simcore.Staff{{UserID: "zhangjg", Name: "张建国"}, {UserID: "lixm", Name: "李晓梅"}, {UserID: "wangql", Name: "王庆林"}},
		Groups: []simcore.Group{
			{ChatID: "wrService", Name: "客服工作群", Members: []string{"lixm", "wangql"}, Spoken: true},
			{ChatID: "wrEngine", Name: "工程工作群", Members: []string{"zhangjg", "lixm", "wangql"}, Spoken: true},
		},
	}
}

// browser starts Chromium, or ends the test where there is none.
func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is not installed")
		}
		t.Skip("chromium is not installed")
	}
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WindowSize(1440, 900))
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// shot writes a picture where GUANJIA_PAGE_SHOTS names a folder.
func shot(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("GUANJIA_PAGE_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Error(err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		t.Error(err)
	}
}

// A first visitor walks through the story with the mouse alone, apart from the
// name of the resident.
func TestVisitorLivesTheStory(t *testing.T) {
	t.Parallel()
	clk := clock.NewAdjustable(time.Time{})
	sim := sandbox.New(sandbox.Options{Clock: clk, Advance: clk.Advance})
	s := &steward{t: t}
	callback := httptest.NewServer(s)
	srv := httptest.NewServer(inbox(sim.Handler()))
	s.base = srv.URL
	if err := sim.LoadWorld(world(callback.URL)); err != nil {
		t.Fatal(err)
	}
	s.connect()
	t.Cleanup(func() {
		_ = s.ws.CloseNow()
		s.wg.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := sim.Stop(ctx); err != nil {
			t.Error(err)
		}
		srv.CloseClientConnections()
		srv.Close()
		callback.Close()
	})

	ctx := browser(t)
	var mu sync.Mutex
	var strayed, errs []string
	home, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	err = chromedp.Listen(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := ev.(type) {
		case *network.EventRequestWillBeSent:
			if u, err := url.Parse(e.Request.URL); err == nil && u.Host != home.Host && u.Scheme != "data" {
				strayed = append(strayed, e.Request.URL)
			}
		case *runtime.EventExceptionThrown:
			errs = append(errs, fmt.Sprint(e.ExceptionDetails.Text, " ", e.ExceptionDetails.URL, " ", e.ExceptionDetails.LineNumber))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	step := func(name string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		tctx, cancel := context.WithTimeout(ctx, 45*time.Second)
		defer cancel()
		if err := chromedp.Do(tctx, actions...); err != nil {
			shot(ctx, t, "failed")
			t.Fatalf("%s: %v", name, err)
		}
	}
	button := func(scope, text string) chromedp.Action[chromedp.Void] {
		return chromedp.Click(fmt.Sprintf(`//*[@id=%q]//button[contains(., %q)]`, scope, text))
	}
	sees := func(scope, text string) chromedp.Action[chromedp.Void] {
		return chromedp.WaitVisible(fmt.Sprintf(`//*[@id=%q]/descendant-or-self::*[text()[contains(., %q)]]`, scope, text))
	}
	send := func(form string) chromedp.Action[chromedp.Void] {
		return chromedp.Click(chromedp.CSS("#" + form + " .send"))
	}

	step("open", chromedp.EmulateViewport(1440, 900), chromedp.Navigate(srv.URL+"/"),
		sees("rooms", "工程工作群"), sees("step-now", "建一位新住户"))
	shot(ctx, t, "1-start")
	step("new resident", button("step-now", "建一位新住户"), chromedp.WaitVisible(chromedp.CSS("#new-form")), chromedp.Click(chromedp.CSS("#new-form .primary")), sees("resident-pick", "小林"))
	step("follow", button("step-now", "关注"), sees("phone-chat", "24 小时在"))
	step("bind", button("phone-chips", "绑定房屋"), send("phone-form"), sees("phone-chat", "六位验证码"))
	step("code", button("sms-chat", "482913"), send("phone-form"), sees("phone-chat", "绑定好了"))
	step("complain", button("step-now", "三栋电梯"), send("phone-form"), sees("phone-chat", "单号 #100231"))
	shot(ctx, t, "2-complaint")
	step("card", button("rooms", "工程工作群"), sees("group-chat", "#100231 电梯故障"))
	step("claim", button("group-chat", "接单"), sees("group-chat", "处理中"), sees("group-trace", "卡片已更新"))
	step("answer", button("step-now", "师傅十分钟到"), send("group-form"), sees("group-chat", "已发送给住户"))
	step("webhook", chromedp.Func(func(context.Context, *chromedp.Target) error {
		res, err := http.Post(srv.URL+"/qyapi.weixin.qq.com/cgi-bin/webhook/send?key=k", "application/json",
			strings.NewReader(`{"msgtype":"text","text":{"content":"紧急:3栋电梯困人,请马上处理","mentioned_list":["zhangjg","lixm"]}}`))
		if err == nil {
			res.Body.Close()
		}
		return err
	}), sees("group-chat", "@张建国"))
	shot(ctx, t, "3-claimed")
	step("hostile", chromedp.SetValue(chromedp.CSS("#phone-text"), `<img src=x onerror="document.title='owned'"><b>粗</b>`), send("phone-form"), sees("phone-chat", "<b>粗</b>"))
	if title, err := chromedp.Run(ctx, chromedp.Title()); err != nil || strings.Contains(title, "owned") {
		t.Errorf("a message ran as script: %q %v", title, err)
	}
	step("clock", button("clock-buttons", "+1 小时"), sees("toasts", "时间往前走了"))
	step("faults", chromedp.Click(chromedp.CSS("#open-faults")), sees("fault-list", "没有故障"))
	step("switch", chromedp.Click(`//*[@id="fault-presets"]//label[contains(., "重复投递")]`), sees("fault-list", "wechat.callback"))
	shot(ctx, t, "4-faults")
	step("restore", chromedp.Click(chromedp.CSS("#fault-clear")), sees("fault-list", "没有故障"), chromedp.Click(chromedp.CSS("#faults-dialog .close")))
	step("counters", chromedp.Click(chromedp.CSS("#open-counters")), sees("counters-body", "wechat.callback"))
	shot(ctx, t, "5-counters")
	step("close", chromedp.Click(chromedp.CSS("#counters-dialog .close")))
	step("people", chromedp.Click(chromedp.CSS("#resident-pick")), sees("residents-list", "老周"))
	shot(ctx, t, "6-people")
	step("choose", button("residents-list", "陈阿姨"), sees("resident-pick", "陈阿姨"))

	step("small", chromedp.EmulateViewport(390, 844), chromedp.Click(chromedp.CSS("#tab-phone")), chromedp.WaitVisible(chromedp.CSS("#pane-phone")), chromedp.WaitNotVisible(chromedp.CSS("#pane-group")))
	shot(ctx, t, "7-phone-a")
	step("tab", chromedp.Click(chromedp.CSS("#tab-group")), chromedp.WaitVisible(chromedp.CSS("#pane-group")), chromedp.WaitNotVisible(chromedp.CSS("#pane-phone")))
	shot(ctx, t, "8-phone-b")
	step("sms tab", chromedp.Click(chromedp.CSS("#tab-sms")), chromedp.WaitVisible(chromedp.CSS("#sms-chat")))
	shot(ctx, t, "9-phone-c")
	wide, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > innerWidth`))
	if err != nil || wide {
		t.Errorf("the page scrolls sideways on a phone: %v %v", wide, err)
	}

	mu.Lock()
	defer mu.Unlock()
	if len(strayed) > 0 {
		t.Errorf("the page asked for %v", strayed)
	}
	if len(errs) > 0 {
		t.Errorf("scripts failed: %v", errs)
	}
}
