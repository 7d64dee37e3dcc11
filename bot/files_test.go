package bot_test

import (
	"bytes"
	"image"
	"image/png"
	"testing"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/app/worldtest"
	"guanjia/internal/conversation"
	"guanjia/internal/ledger"
	"guanjia/internal/media"
)

func picture(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 40, 30))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A picture that comes with an open case is fetched, kept, and told to the group.
func TestPictureOfAnOpenCase(t *testing.T) {
	t.Parallel()
	worldtest.Run(t, func(t *testing.T, w *worldtest.World) {
		h := w.Bound(t, 0)
		w.Say(t, h.OpenID, "厨房水管漏水,麻烦派人来修")
		c := w.OneCase(t, h.OpenID)
		body := picture(t)
		w.Files.Put("m1", body)
		wantAll(t, w.Turn(t, conversation.Inbound{OpenID: h.OpenID, Type: "image", MediaID: "m1"}).Text, "#"+c.No)
		wantAll(t, w.Turn(t, conversation.Inbound{OpenID: h.OpenID, Type: "voice", MediaID: "gone"}).Text, "#"+c.No, "语音已收到")
		if n := w.Files.Fetch(t, w.Media); n != 2 {
			t.Fatalf("%d jobs, want 2", n)
		}
		files, err := w.Media.OfCase(t.Context(), w.DB, sample.CompanyID, c.ID)
		if err != nil || len(files) != 2 {
			t.Fatalf("files %+v, %v", files, err)
		}
		if f := files[0]; f.State != media.StateStored || f.ContentType != "image/png" || !f.Shown() {
			t.Errorf("picture %+v", f)
		}
		if f := files[1]; f.State != media.StateGone || f.Shown() {
			t.Errorf("voice %+v", f)
		}
		got, err := w.Media.Body(t.Context(), w.DB, files[0])
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
		}
		// Of the two lines to the group, the one with the last count is left.
		var left []string
		for _, d := range w.Deliveries(t, "case_files", c.ID, ledger.ChannelGroup) {
			if d.State == ledger.Planned {
				left = append(left, d.Text)
			}
		}
		if len(left) != 1 {
			t.Fatalf("lines to the group: %q", left)
		}
		wantAll(t, left[0], "附图片1张语音1条", "#"+c.No)
	})
}

// A picture before any word waits for the case that the words open.
func TestPictureBeforeWords(t *testing.T) {
	t.Parallel()
	w := worldtest.Embedded(t)
	h := w.Bound(t, 0)
	w.Files.Put("m1", picture(t))
	wantAll(t, w.Turn(t, conversation.Inbound{OpenID: h.OpenID, Type: "image", MediaID: "m1"}).Text, "图片已收到")
	w.Clock.Advance(time.Minute)
	w.Say(t, h.OpenID, "厨房水管漏水,麻烦派人来修")
	c := w.OneCase(t, h.OpenID)
	images, voices, err := w.Media.CountTx(t.Context(), w.DB, c.ID)
	if err != nil || images != 1 || voices != 0 {
		t.Errorf("%d pictures, %d voices, %v", images, voices, err)
	}
	// An old picture belongs to an old talk.
	other := apart(t, w, 1)
	w.Turn(t, conversation.Inbound{OpenID: other.OpenID, Type: "image", MediaID: "m2"})
	w.Clock.Advance(2 * time.Hour)
	w.Say(t, other.OpenID, "厨房水管漏水,麻烦派人来修")
	if images, _, err = w.Media.CountTx(t.Context(), w.DB, w.OneCase(t, other.OpenID).ID); err != nil || images != 0 {
		t.Errorf("%d pictures of two hours ago, %v", images, err)
	}
}
