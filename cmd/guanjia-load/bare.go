package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"guanjia/bot/wechat"
	"guanjia/internal/app/sample"
	"guanjia/internal/clock"
	"guanjia/internal/db"
	"guanjia/internal/embedded"
)

// bareServer is what a callback costs at least: net/http, the signatures, the
// cipher, one row, one round trip to Redis, a sealed reply. No dialogue, no
// second statement. It works on the product's stores.
type bareServer struct {
	account sample.ReadyAccount
	ring    *wechat.Keyring
	db      *db.DB
	rdb     redis.UniversalClient
	log     *slog.Logger
	url     string
	closers []func()
}

const bareTable = `CREATE TABLE IF NOT EXISTS guanjia_load_bare (
	id text PRIMARY KEY, dedupe_key text NOT NULL UNIQUE, openid text NOT NULL, body text NOT NULL, raw text NOT NULL, received_at timestamptz NOT NULL)`

func startBare(ctx context.Context, log *slog.Logger, st *stores, ready sample.Ready) (b *bareServer, err error) {
	b = &bareServer{account: ready.Account, log: log}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.ring, err = wechat.NewKeyring(ready.Account.AppID, ready.Account.EncodingAESKey, ""); err != nil {
		return nil, err
	}
	if err := b.openStores(ctx, st); err != nil {
		return nil, err
	}
	if _, err := b.db.ExecContext(ctx, bareTable); err != nil {
		return nil, fmt.Errorf("table of the bare server: %w", err)
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("bare server: %w", err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(b.serve), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("bare server ended", "error", err)
		}
	}()
	b.closers = append(b.closers, func() { _ = srv.Close(); <-done })
	b.url = "http://" + ln.Addr().String()
	return b, nil
}

// openStores opens connections of the bare server's own to the same stores;
// with the embedded pair, a pair of its own kind.
func (b *bareServer) openStores(ctx context.Context, st *stores) (err error) {
	address := st.postgres
	if address == "" {
		address = "sqlite://" + st.dir + "/bare.db"
	}
	if b.db, err = db.Open(ctx, db.Options{URL: address, MaxConns: 16, Logger: b.log}); err != nil {
		return err
	}
	b.closers = append(b.closers, func() { _ = b.db.Close() })
	if st.redis != "" {
		if b.rdb, err = embedded.OpenRedis(st.redis); err != nil {
			return err
		}
		b.closers = append(b.closers, func() { _ = b.rdb.Close() })
		return nil
	}
	own, err := embedded.StartRedis(ctx, clock.System())
	if err != nil {
		return err
	}
	b.rdb = own.Client()
	b.closers = append(b.closers, func() { _ = own.Close() })
	return nil
}

func (b *bareServer) close() {
	for i := len(b.closers) - 1; i >= 0; i-- {
		b.closers[i]()
	}
	b.closers = nil
}

func (b *bareServer) serve(w http.ResponseWriter, r *http.Request) {
	body, err := b.answer(r)
	if err != nil {
		b.log.Warn("bare push failed", "error", err)
		http.Error(w, "failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	_, _ = io.WriteString(w, body)
}

func (b *bareServer) answer(r *http.Request) (string, error) {
	q := r.URL.Query()
	at, nonce := q.Get("timestamp"), q.Get("nonce")
	raw, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, 64<<10))
	if err != nil {
		return "", err
	}
	sealed := element(string(raw), "Encrypt")
	if !wechat.SignatureOK(q.Get("signature"), b.account.Token, at, nonce) ||
		!wechat.SignatureOK(q.Get("msg_signature"), b.account.Token, at, nonce, sealed) {
		return "", errors.New("signature")
	}
	inner, key, err := b.ring.Open(sealed)
	if err != nil {
		return "", err
	}
	doc := string(inner)
	openID, msgID := element(doc, "FromUserName"), element(doc, "MsgId")
	ctx := r.Context()
	if _, err := b.db.ExecContext(ctx, `INSERT INTO guanjia_load_bare (id, dedupe_key, openid, body, raw, received_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		db.NewID(), msgID, openID, element(doc, "Content"), doc, db.At(time.Now())); err != nil {
		return "", err
	}
	pipe := b.rdb.Pipeline()
	pipe.Set(ctx, "bare:"+openID, msgID, time.Minute)
	pipe.Incr(ctx, "bare:count")
	if _, err := pipe.Exec(ctx); err != nil {
		return "", err
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	reply := "<xml><ToUserName><![CDATA[" + openID + "]]></ToUserName><FromUserName><![CDATA[" + b.account.OriginalID + "]]></FromUserName><CreateTime>" +
		now + "</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[不客气，很高兴为您服务。]]></Content></xml>"
	out, err := key.Seal([]byte(reply), b.account.AppID)
	if err != nil {
		return "", err
	}
	return "<xml><Encrypt><![CDATA[" + out + "]]></Encrypt><MsgSignature><![CDATA[" + wechat.Sign(b.account.Token, now, nonce, out) +
		"]]></MsgSignature><TimeStamp>" + now + "</TimeStamp><Nonce><![CDATA[" + nonce + "]]></Nonce></xml>", nil
}
