package console_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"guanjia/internal/app/sample"
	"guanjia/internal/ledger"
)

// TestNoticeLivesInABrowser: the check beside the form follows what is typed,
// and the progress moves by itself.
func TestNoticeLivesInABrowser(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is not installed")
		}
		t.Skip("chromium is not installed")
	}
	b := open(t)
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.WindowSize(1440, 900))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	// The browser lives as long as the context of the first action.
	if err := chromedp.Do(ctx, chromedp.Navigate(b.server.URL+"/console/login")); err != nil {
		t.Fatal(err)
	}
	step := func(name string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		tctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if err := chromedp.Do(tctx, actions...); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	css := func(s string) chromedp.Action[chromedp.Void] { return chromedp.Click(chromedp.CSS(s)) }
	sees := func(scope, text string) chromedp.Action[chromedp.Void] {
		return chromedp.WaitVisible(fmt.Sprintf(`//*[@id=%q]/descendant-or-self::*[contains(normalize-space(.), %q)]`, scope, text))
	}
	step("sign in", chromedp.SendKeys(chromedp.CSS("#user"), "yangguang"),
		chromedp.SendKeys(chromedp.CSS("#password"), sample.ConsolePassword), css(".login button"), chromedp.WaitVisible(chromedp.CSS(".tiles")))
	step("form", chromedp.Navigate(b.server.URL+"/console/notices/new?kind=emergency_outage"), sees("check", "还差"), sees("p-reason", "原因"))
	step("building", css(`input[name=buildings][value="3"]`), sees("check", "3栋"))
	step("reason", chromedp.SendKeys(chromedp.CSS("#reason"), "主管爆裂抢修"), sees("check", "主管爆裂抢修"), chromedp.WaitNotVisible(chromedp.CSS("#p-reason")))
	step("topic", chromedp.SetValue(chromedp.CSS("#topic"), "outage_water"), chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.querySelector("#topic").dispatchEvent(new Event("change", {bubbles: true}))`))
		return err
	}), sees("check", "突发停水"), sees("check", "内容齐全"))
	step("save", css("#compose button.main"), sees("live", "T0001"), sees("live", "58 户"))
	step("approve", css(`form[action$="/approve"] button`), sees("live", "户已通知到"), sees("live", "发送中"))
	// What the vendor takes shows on the page without a reload.
	b.deliver(t)
	step("progress", sees("live", "100%"), sees("live", "已完成"))
}

// deliver lets the vendor take all emergencies and confirm them.
func (b *browser) deliver(t *testing.T) {
	t.Helper()
	for {
		list, err := b.w.Ledger.Claim(t.Context(), ledger.ClaimQuery{Lane: ledger.LaneEmergency, Limit: 50, Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
		for _, d := range list {
			a, err := b.w.Ledger.StartAttempt(t.Context(), d)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.w.Ledger.Record(t.Context(), a, ledger.Outcome{Kind: ledger.OK, VendorID: "v-" + a.OutID}); err != nil {
				t.Fatal(err)
			}
			if _, err := b.w.Ledger.Checked(t.Context(), a, ledger.Check{Found: ledger.FoundDelivered, At: b.w.Clock.Now()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.w.Clock.Advance(2 * time.Second) // the reach is counted once a second
}
