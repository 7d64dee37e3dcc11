package wechat

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"guanjia/internal/company"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/db/dbtest"
)

// courteous answers without any other write, as most turns do.
type courteous struct{ conversations *conversation.Conversations }

func (c courteous) Turn(ctx context.Context, m conversation.Message, live bool) (conversation.Answer, string, error) {
	a := conversation.Answer{Kind: conversation.AnswerText, Text: "您好,已经收到"}
	carrier, err := c.conversations.SaveChat(ctx, conversation.Turn{MessageID: m.ID, Answer: a, Live: live})
	return a, carrier, err
}

func (courteous) Away(context.Context, conversation.Inbound) string { return "" }

// sealedRequests prepares a maker of encrypted pushes that costs no encryption
// while it is measured: one ciphertext for each of n messages.
func sealedRequests(b *testing.B, n int) func(i int64) *http.Request {
	b.Helper()
	k := mustKey(b, commonKey)
	type prepared struct{ target, body string }
	ready := make([]prepared, n)
	timestamp := strconv.FormatInt(now.Unix(), 10)
	for i := range ready {
		doc := strings.Replace(textPush(strconv.Itoa(i), "三栋电梯又坏了,老人下不了楼").xml, testOpenID, fmt.Sprint("o", i%500), 1)
		sealed, err := k.Seal([]byte(doc), testAppID)
		if err != nil {
			b.Fatal(err)
		}
		nonce := strconv.Itoa(i)
		q := url.Values{
			"signature": {Sign(testToken, timestamp, nonce)}, "timestamp": {timestamp}, "nonce": {nonce}, "encrypt_type": {"aes"},
			"msg_signature": {Sign(testToken, timestamp, nonce, sealed)},
		}
		ready[i] = prepared{"/wechat/demo?" + q.Encode(), "<xml><Encrypt><![CDATA[" + sealed + "]]></Encrypt></xml>"}
	}
	return func(i int64) *http.Request {
		p := ready[i%int64(n)]
		return httptest.NewRequest(http.MethodPost, p.target, strings.NewReader(p.body))
	}
}

// BenchmarkAdmit verifies, decrypts and decodes, and stores nothing.
func BenchmarkAdmit(b *testing.B) {
	n := newNode(b, dbtest.SQLite(b), company.ModeEncrypted, nil)
	request := sealedRequests(b, 1000)
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		if _, _, f := n.admit(httptest.NewRecorder(), request(i), n.directory.WeChatAccount); f != nil {
			b.Fatal(f.reason)
		}
	}
}

// BenchmarkCallback is a whole chat callback of 32 callers at a time.
func BenchmarkCallback(b *testing.B) {
	bench := func(b *testing.B, d *db.DB) {
		n := newNode(b, d, company.ModeEncrypted, nil)
		n.o.Turner = courteous{n.conversations}
		request := sealedRequests(b, b.N+1)
		var i atomic.Int64
		b.SetParallelism(max(1, 32/runtime.GOMAXPROCS(0)))
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				w := httptest.NewRecorder()
				n.ServeHTTP(w, request(i.Add(1)))
				if w.Code != http.StatusOK || w.Body.Len() < 100 {
					b.Errorf("%d %q", w.Code, w.Body)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "per_s")
	}
	b.Run("sqlite", func(b *testing.B) { bench(b, dbtest.SQLite(b)) })
	b.Run("postgres", func(b *testing.B) { bench(b, dbtest.Open(b, dbtest.Postgres(b))) })
}
