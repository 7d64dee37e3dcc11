package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"guanjia/internal/app/sample"
	"guanjia/internal/sandbox/wxcrypt"
)

// pusher pushes text messages as the platform does, encrypted, over connections
// that stay open, and opens the passive replies. The envelope is the
// simulators' own, which shares no line with the product's.
type pusher struct {
	account sample.ReadyAccount
	key     wxcrypt.Key
	url     string
	http    *http.Client
	number  *atomic.Int64 // of message ids and nonces
}

func newPusher(account sample.ReadyAccount, listen string, clients int) (*pusher, error) {
	key, err := wxcrypt.ParseKey(account.EncodingAESKey)
	if err != nil {
		return nil, fmt.Errorf("key of the account: %w", err)
	}
	p := &pusher{account: account, key: key, url: strings.TrimSuffix(listen, "/") + account.Path, number: new(atomic.Int64)}
	p.number.Store(time.Now().UnixNano() / 1000 * 1000)
	p.http = &http.Client{Timeout: answerTimeout, Transport: &http.Transport{
		MaxIdleConns: clients, MaxIdleConnsPerHost: clients, DisableCompression: true,
		DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	}}
	return p, nil
}

// at is the same platform pushing to another address.
func (p *pusher) at(listen string) *pusher {
	other := *p
	other.url = strings.TrimSuffix(listen, "/") + p.account.Path
	return &other
}

func (p *pusher) close() { p.http.CloseIdleConnections() }

// answerTimeout is when the platform hangs up.
const answerTimeout = 5 * time.Second

// maxReply bounds what is read of an answer.
const maxReply = 1 << 20

// text pushes one message and returns the text of the passive reply, "" for an
// answer without words. Whatever else comes back is an error.
func (p *pusher) text(ctx context.Context, openID, text string) (string, error) {
	n := p.number.Add(1)
	now := strconv.FormatInt(time.Now().Unix(), 10)
	nonce := strconv.FormatInt(n, 10)
	inner := "<xml><ToUserName><![CDATA[" + p.account.OriginalID + "]]></ToUserName><FromUserName><![CDATA[" + openID +
		"]]></FromUserName><CreateTime>" + now + "</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[" + text +
		"]]></Content><MsgId>" + nonce + "</MsgId></xml>"
	sealed, err := p.key.Encrypt([]byte(inner), p.account.AppID)
	if err != nil {
		return "", fmt.Errorf("seal the push: %w", err)
	}
	query := url.Values{
		"signature": {wxcrypt.Signature(p.account.Token, now, nonce)}, "timestamp": {now}, "nonce": {nonce}, "openid": {openID},
		"encrypt_type": {"aes"}, "msg_signature": {wxcrypt.Signature(p.account.Token, now, nonce, sealed)},
	}
	body := "<xml><ToUserName><![CDATA[" + p.account.OriginalID + "]]></ToUserName><Encrypt><![CDATA[" + sealed + "]]></Encrypt></xml>"
	answer, err := p.post(ctx, query, body)
	if err != nil {
		return "", err
	}
	if string(bytes.TrimSpace(answer)) == "success" || len(answer) == 0 {
		return "", nil
	}
	return p.open(openID, string(answer))
}

func (p *pusher) post(ctx context.Context, query url.Values, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"?"+query.Encode(), strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("push: %w", err)
	}
	req.Header.Set("Content-Type", "text/xml")
	res, err := p.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address carries the signature
		}
		return nil, fmt.Errorf("push: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("push: status %d", res.StatusCode)
	}
	return answer, nil
}

// errReply says that an answer is no reply the platform would show.
var errReply = errors.New("the reply is not what the platform takes")

func (p *pusher) open(openID, answer string) (string, error) {
	sealed, at, nonce := element(answer, "Encrypt"), element(answer, "TimeStamp"), element(answer, "Nonce")
	if !wxcrypt.Equal(element(answer, "MsgSignature"), wxcrypt.Signature(p.account.Token, at, nonce, sealed)) {
		return "", fmt.Errorf("%w: signature", errReply)
	}
	inner, appID, err := p.key.Decrypt(sealed)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errReply, err)
	}
	text := element(string(inner), "Content")
	if appID != p.account.AppID || element(string(inner), "ToUserName") != openID || text == "" {
		return "", fmt.Errorf("%w: app id, receiver or words", errReply)
	}
	return text, nil
}

// element reads one element of the flat documents that both sides write.
func element(doc, name string) string {
	_, rest, found := strings.Cut(doc, "<"+name+">")
	if !found {
		return ""
	}
	text, _, found := strings.Cut(rest, "</"+name+">")
	if !found {
		return ""
	}
	if inner, ok := strings.CutPrefix(text, "<![CDATA["); ok {
		inner = strings.TrimSuffix(inner, "]]>")
		return strings.ReplaceAll(inner, "]]]]><![CDATA[>", "]]>")
	}
	return text
}
