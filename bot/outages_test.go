package bot_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"guanjia/internal/app/worldtest"
	"guanjia/internal/estate"
	"guanjia/internal/wording"
)

// dryBuildings is a notice of water that runs for some buildings.
type dryBuildings struct {
	text  wording.Text
	on    []string
	asked int
}

func (d *dryBuildings) Active(_ context.Context, _ string, homes []estate.Home, topic string) (wording.Text, bool, error) {
	d.asked++
	ok := topic == "outage_water" && slices.ContainsFunc(homes, func(h estate.Home) bool { return slices.Contains(d.on, h.Building) })
	return d.text, ok, nil
}

func TestOutageIsAnsweredFromItsNotice(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	text, err := w.Book.Say("notice.answer_open", wording.Vars{"place": "3栋、4栋", "reason": "主管爆裂抢修", "what": "停水", "start": "今天 09:00", "action": "请储水备用", "phone": "0571-88880000"})
	if err != nil {
		t.Fatal(err)
	}
	in, out := w.Bound(t, 0), w.Bound(t, 0)
	for n := 0; out.Building == in.Building; n++ {
		out = w.Bound(t, n)
	}
	notice := &dryBuildings{text: text, on: []string{in.Building}}
	w.Engine.Outages = notice
	for _, said := range []string{"怎么没水", "停水了", "什么时候恢复供水？"} {
		if got := w.Say(t, in.OpenID, said); got != text.String() {
			t.Errorf("%q is answered with %q", said, got)
		}
	}
	if got := w.Cases(t, in.OpenID); len(got) != 0 {
		t.Errorf("%d cases beside the notice", len(got))
	}
	asked := notice.asked
	for _, said := range []string{
		out.Building + "栋怎么没水", // names a building where he has no home
		"没电了",                  // another topic
		"怎么没水，还有电梯也坏了",         // a second matter
		"又停水，你们到底管不管，我要投诉",     // a complaint
		"厨房没水，卫生间有水，昨天师傅来看过说要换水龙头，今天还没有人来换，请尽快", // more than the outage
	} {
		if got := w.Say(t, in.OpenID, said); got == text.String() || got == "" {
			t.Errorf("%q is answered with %q", said, got)
		}
	}
	if notice.asked == asked {
		t.Error("the notice was not even asked about another building")
	}
	if len(w.Cases(t, in.OpenID)) == 0 {
		t.Error("no case of what the notice does not explain")
	}
	if got := w.Say(t, out.OpenID, "怎么没水"); !strings.Contains(got, "#") || len(w.Cases(t, out.OpenID)) != 1 {
		t.Errorf("outside the scope: %q and %d cases", got, len(w.Cases(t, out.OpenID)))
	}
}
