package simwecom_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"guanjia/internal/clock"
	"guanjia/internal/sandbox/simcore"
	"guanjia/internal/sandbox/simwecom"
)

// Whatever a bot sends, the line stays usable and the people's world is not harmed.
func FuzzFrame(f *testing.F) {
	for _, seed := range []string{
		`{"cmd":"ping","headers":{"req_id":"1"}}`,
		`{"cmd":"aibot_subscribe","headers":{"req_id":"1"},"body":{"bot_id":"bot1","secret":"botsecret"}}`,
		`{"cmd":"aibot_send_msg","headers":{"req_id":"1"},"body":{"chatid":"wrEngine","chat_type":2,"msgtype":"markdown","markdown":{"content":"x"}}}`,
		`{"cmd":"aibot_send_msg","headers":{"req_id":"1"},"body":{"chatid":"wrEngine","msgtype":"template_card","template_card":null}}`,
		`{"cmd":"aibot_send_msg","headers":{"req_id":"1"},"body":{"chatid":"wrEngine","msgtype":"template_card","template_card":{"card_type":"vote_interaction","task_id":"t","main_title":{"title":"x"}}}}`,
		`{"cmd":"aibot_respond_update_msg","headers":{"req_id":"1"},"body":{"response_type":"update_template_card"}}`,
		`{"cmd":"aibot_respond_msg","headers":{"req_id":"1"},"body":{"msgtype":"stream"}}`,
		`{"cmd":"aibot_upload_media_init","headers":{"req_id":"1"},"body":{"type":"image","filename":"a","total_size":9,"total_chunks":1}}`,
		`{"cmd":"aibot_upload_media_chunk","headers":{"req_id":"1"},"body":{"upload_id":"x","chunk_index":-1,"base64_data":""}}`,
		`{"headers":{}}`, `[]`, `null`, "\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		core := simcore.New(clock.NewManual(time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)), nil)
		sim := simwecom.New(core)
		if err := sim.LoadWorld(world()); err != nil {
			t.Fatal(err)
		}
		for _, a := range simwecom.Feed(context.Background(), sim, "bot1", data) {
			var ack struct {
				ErrCode *int `json:"errcode"`
			}
			if err := json.Unmarshal(a, &ack); err != nil || ack.ErrCode == nil {
				t.Errorf("answered %q", a)
			}
		}
		var w simcore.World
		sim.WriteWorld(&w)
		if len(w.Groups) != 3 || len(w.Staff) != 2 {
			t.Errorf("the world became %+v", w)
		}
	})
}
