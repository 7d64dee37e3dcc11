package simsms

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/sandbox/simcore"
)

const (
	version       = "2017-05-25"
	maxBody       = 1 << 20
	timestampForm = "2006-01-02T15:04:05Z"
	maxSkew       = 15 * time.Minute
	maxPhones     = 1000
	maxBatch      = 100
	maxOutID      = 255
	receiptAfter  = time.Second
	// visibleAfter is how long a text is missing from QuerySendDetails.
	visibleAfter = time.Second
	queryDays    = 30
)

// codeError is an answer other than OK: a business code with HTTP 200, or a
// gateway's error with another status.
type codeError struct {
	status        int
	code, message string
}

func business(code, message string) *codeError { return &codeError{http.StatusOK, code, message} }

func gateway(status int, code, message string) *codeError { return &codeError{status, code, message} }

func missing(name string) *codeError {
	return gateway(http.StatusBadRequest, "Missing"+name, name+" is mandatory for this action.")
}

// gatewayStatus is the HTTP status of codes that the gateway answers.
var gatewayStatus = map[string]int{
	"ServiceUnavailable": http.StatusServiceUnavailable, "InternalError": http.StatusInternalServerError,
	"InvalidAccessKeyId.NotFound": http.StatusNotFound, "InvalidAction.NotFound": http.StatusNotFound,
	"Forbidden.RAM": http.StatusForbidden, "NoPermission": http.StatusForbidden,
}

// targets are the fault targets of the actions.
var targets = map[string]string{
	"SendSms": "sms.send", "SendBatchSms": "sms.send", "QuerySendDetails": "sms.query", "QuerySendStatistics": "sms.query",
	"QuerySmsTemplate": "sms.template", "GetSmsTemplate": "sms.template", "QuerySmsTemplateList": "sms.template",
	"QuerySmsSign": "sms.template", "GetSmsSign": "sms.template", "QuerySmsSignList": "sms.template",
}

func (s *Sim) actions() map[string]func(*account, url.Values) (map[string]any, *codeError) {
	return map[string]func(*account, url.Values) (map[string]any, *codeError){
		"SendSms": s.sendSms, "SendBatchSms": s.sendBatch, "QuerySendDetails": s.query, "QuerySendStatistics": s.statistics,
		"QuerySmsTemplate": s.queryTemplate, "GetSmsTemplate": s.getTemplate, "QuerySmsTemplateList": s.listTemplates,
		"QuerySmsSign": s.querySign, "GetSmsSign": s.querySign, "QuerySmsSignList": s.listSigns,
	}
}

func (s *Sim) serve(w http.ResponseWriter, r *http.Request) {
	params, err := readParams(w, r)
	if err != nil {
		return // the caller is gone, or sent more than any SDK does
	}
	action := params.Get("Action")
	target := targets[action]
	if target == "" {
		target = "sms.unknown"
	}
	s.core.Apply(w, r, target, simcore.Match{Phone: subject(params)},
		func(code simcore.Code) simcore.Response { return s.failure(faultError(code)) },
		func() simcore.Response { return s.answer(r.Method, action, params) })
}

func faultError(code simcore.Code) *codeError {
	c := code.String("isp.SYSTEM_ERROR")
	if strings.HasPrefix(c, "isv.") || strings.HasPrefix(c, "isp.") {
		return business(c, c)
	}
	status, ok := gatewayStatus[c]
	if !ok {
		status = http.StatusBadRequest
	}
	return gateway(status, c, c)
}

// subject is the phone that a fault may match: the first of the call.
func subject(p url.Values) string {
	list := p.Get("PhoneNumbers")
	if list == "" {
		list = p.Get("PhoneNumber")
	}
	if list == "" {
		var batch []string
		if json.Unmarshal([]byte(p.Get("PhoneNumberJson")), &batch) == nil && len(batch) > 0 {
			list = batch[0]
		}
	}
	head, _, _ := strings.Cut(list, ",")
	n, _ := normalPhone(head)
	return n
}

// readParams joins query and form; the form wins.
func readParams(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	params, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		params = r.URL.Query()
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return params, nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return params, nil // the signature will not match
	}
	for k, v := range form {
		params[k] = v
	}
	return params, nil
}

func (s *Sim) answer(method, action string, params url.Values) simcore.Response {
	a, failed := s.authenticate(method, params)
	if failed != nil {
		return s.failure(failed)
	}
	if v := params.Get("Version"); v != version {
		return s.failure(gateway(http.StatusBadRequest, "InvalidVersion", "Specified parameter Version is not valid."))
	}
	do, ok := s.actions()[action]
	if !ok {
		return s.failure(gateway(http.StatusNotFound, "InvalidAction.NotFound", "Specified api is not found, please check your url and method."))
	}
	body, failed := do(a, params)
	if failed != nil {
		return s.failure(failed)
	}
	body["Code"], body["Message"], body["RequestId"] = "OK", "OK", requestID()
	return simcore.JSON("ok", body)
}

func (s *Sim) failure(e *codeError) simcore.Response {
	body := map[string]any{"RequestId": requestID(), "Code": e.code, "Message": e.message}
	if e.status != http.StatusOK {
		body["HostId"] = "dysmsapi.aliyuncs.com"
		body["Recommend"] = "https://api.aliyun.com/troubleshoot?q=" + url.QueryEscape(e.code) + "&product=Dysmsapi"
	}
	p := simcore.JSON(e.code, body)
	p.Status = e.status
	return p
}

func requestID() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(fmt.Sprintf("simsms: random bytes: %v", err)) // never happens on Go 1.24 and later
	}
	h := strings.ToUpper(hex.EncodeToString(b[:]))
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// authenticate checks key, signature, time and nonce, in the vendor's order.
func (s *Sim) authenticate(method string, p url.Values) (*account, *codeError) {
	id := p.Get("AccessKeyId")
	if id == "" {
		return nil, missing("AccessKeyId")
	}
	for _, name := range []string{"Signature", "SignatureNonce", "Timestamp", "Version", "Action"} {
		if p.Get(name) == "" {
			return nil, missing(name)
		}
	}
	if p.Get("SignatureMethod") != "HMAC-SHA1" || p.Get("SignatureVersion") != "1.0" {
		return nil, gateway(http.StatusBadRequest, "IncompleteSignature", "The request signature does not conform to Aliyun standards.")
	}
	at, err := time.Parse(timestampForm, p.Get("Timestamp"))
	if err != nil {
		return nil, gateway(http.StatusBadRequest, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.")
	}
	// The SDK stamps with the machine's clock, so that clock judges.
	if skew := time.Since(at); skew > maxSkew || skew < -maxSkew {
		return nil, gateway(http.StatusBadRequest, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
	}
	s.mu.Lock()
	a := s.accounts[id]
	s.mu.Unlock()
	if a == nil {
		return nil, gateway(http.StatusNotFound, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
	}
	text := stringToSign(method, p)
	if !sameSignature(sign(a.cfg.Secret, text), p.Get("Signature")) {
		return nil, gateway(http.StatusBadRequest, "SignatureDoesNotMatch",
			"Specified signature is not matched with our calculation. server string to sign is:"+text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.newNonce(id + "|" + p.Get("SignatureNonce")) {
		return nil, gateway(http.StatusBadRequest, "SignatureNonceUsed", "Specified signature nonce was used already.")
	}
	if a.throttled() {
		return nil, gateway(http.StatusBadRequest, "Throttling.User", "Request was denied due to user flow control.")
	}
	return a, nil
}

// newNonce remembers nonces for at least the life of a timestamp in two
// generations; s.mu is held.
func (s *Sim) newNonce(n string) bool {
	if time.Since(s.turned) > 2*nonceLife || len(s.nonces[0]) >= noncesKept {
		s.nonces[1], s.nonces[0] = s.nonces[0], map[string]struct{}{}
		s.turned = time.Now()
	}
	for _, g := range s.nonces {
		if _, used := g[n]; used {
			return false
		}
	}
	s.nonces[0][n] = struct{}{}
	return true
}

// message is one text of a call, checked.
type message struct {
	phone, sign, template, body string
	kind, segments              int
}

func (s *Sim) sendSms(a *account, p url.Values) (map[string]any, *codeError) {
	for _, name := range []string{"PhoneNumbers", "SignName", "TemplateCode"} {
		if p.Get(name) == "" {
			return nil, missing(name)
		}
	}
	phones := strings.Split(p.Get("PhoneNumbers"), ",")
	if len(phones) > maxPhones {
		return nil, business("isv.MOBILE_COUNT_OVER_LIMIT", "手机号码数量超过限制")
	}
	list := make([]*message, 0, len(phones))
	for _, phone := range phones {
		m, failed := a.check(phone, p.Get("SignName"), p.Get("TemplateCode"), p.Get("TemplateParam"))
		if failed != nil {
			return nil, failed
		}
		list = append(list, m)
	}
	return s.accept(a, list, p.Get("OutId"))
}

func (s *Sim) sendBatch(a *account, p url.Values) (map[string]any, *codeError) {
	for _, name := range []string{"PhoneNumberJson", "SignNameJson", "TemplateCode"} {
		if p.Get(name) == "" {
			return nil, missing(name)
		}
	}
	var phones, signs []string
	var values []json.RawMessage
	if json.Unmarshal([]byte(p.Get("PhoneNumberJson")), &phones) != nil || json.Unmarshal([]byte(p.Get("SignNameJson")), &signs) != nil {
		return nil, business("isv.INVALID_JSON_PARAM", "参数格式错误，请修改为字符串值")
	}
	if raw := p.Get("TemplateParamJson"); raw != "" && json.Unmarshal([]byte(raw), &values) != nil {
		return nil, business("isv.INVALID_JSON_PARAM", "参数格式错误，请修改为字符串值")
	}
	switch {
	case len(phones) > maxBatch:
		return nil, business("isv.MOBILE_COUNT_OVER_LIMIT", "手机号码数量超过限制")
	case len(phones) == 0 || len(signs) != len(phones) || len(values) > 0 && len(values) != len(phones):
		return nil, business("isv.INVALID_PARAMETERS", "参数不合法：号码、签名与变量数量不一致")
	}
	list := make([]*message, 0, len(phones))
	for i, phone := range phones {
		raw := ""
		if len(values) > 0 {
			raw = string(values[i])
		}
		m, failed := a.check(phone, signs[i], p.Get("TemplateCode"), raw)
		if failed != nil {
			return nil, failed
		}
		list = append(list, m)
	}
	return s.accept(a, list, p.Get("OutId"))
}

// check is everything that does not depend on what was sent before.
func (a *account) check(phone, signName, code, param string) (*message, *codeError) {
	number, ok := normalPhone(phone)
	if !ok {
		return nil, business("isv.MOBILE_NUMBER_ILLEGAL", strings.TrimSpace(phone)+"invalid mobile number")
	}
	sg, ok := a.signs[signName]
	if !ok || sg.Status != nil && *sg.Status != approved {
		return nil, business("isv.SMS_SIGNATURE_ILLEGAL", "该账号下找不到对应签名")
	}
	t, ok := a.templates[code]
	if !ok || t.Status != nil && *t.Status != approved {
		return nil, business("isv.SMS_TEMPLATE_ILLEGAL", "该账号下找不到对应模板")
	}
	values, failed := parseParam(param)
	if failed != nil {
		return nil, failed
	}
	body, failed := render(t, values)
	if failed != nil {
		return nil, failed
	}
	n := segments(signName, body)
	if n == 0 {
		return nil, business("isv.PARAM_LENGTH_LIMIT", "短信内容超过长度限制")
	}
	return &message{phone: number, sign: signName, template: code, body: body, kind: kindOf(t), segments: n}, nil
}

func kindOf(t simcore.SMSTemplate) int {
	if t.Type == nil {
		return typeNotice
	}
	return *t.Type
}

// accept takes all texts of a call or none.
func (s *Sim) accept(a *account, list []*message, outID string) (map[string]any, *codeError) {
	if len(outID) > maxOutID {
		return nil, business("isv.INVALID_PARAMETERS", "参数OutId超过长度限制")
	}
	now := s.core.Now()
	biz := strconv.FormatInt(s.ids.Add(1), 10) + "^0"
	texts := make([]*text, 0, len(list))
	s.mu.Lock()
	if words := s.controlled(a, list, now); words != "" {
		s.mu.Unlock()
		return nil, business("isv.BUSINESS_LIMIT_CONTROL", words)
	}
	if failed := a.capped(int64(len(list)), now); failed != nil {
		s.mu.Unlock()
		return nil, failed
	}
	for _, m := range list {
		s.count(a, m, now)
		t := &text{
			acct: a, phone: m.phone, sign: m.sign, template: m.template, body: "【" + m.sign + "】" + m.body,
			segments: m.segments, outID: outID, bizID: biz, at: now, state: stateSubmitted,
		}
		s.remember(t)
		texts = append(texts, t)
	}
	s.mu.Unlock()
	s.core.Counters.OutID(outID)
	for _, t := range texts {
		s.core.Counters.Address("sms", t.phone)
		sum := sha256.Sum256([]byte(t.body))
		s.core.Counters.Content(t.phone, hex.EncodeToString(sum[:]))
	}
	s.core.Timers.After(receiptAfter, func(ctx context.Context) { s.receipts(ctx, texts) })
	return map[string]any{"BizId": biz}, nil
}

// query is QuerySendDetails.
func (s *Sim) query(a *account, p url.Values) (map[string]any, *codeError) {
	for _, name := range []string{"PhoneNumber", "SendDate", "PageSize", "CurrentPage"} {
		if p.Get(name) == "" {
			return nil, missing(name)
		}
	}
	phone, ok := normalPhone(p.Get("PhoneNumber"))
	if !ok {
		return nil, business("isv.MOBILE_NUMBER_ILLEGAL", "手机号码格式错误")
	}
	now := s.core.Now()
	day, err := time.ParseInLocation("20060102", p.Get("SendDate"), china)
	if err != nil || now.Sub(day) > (queryDays+1)*24*time.Hour {
		return nil, business("isv.INVALID_PARAMETERS", "SendDate参数不合法")
	}
	size, err1 := strconv.Atoi(p.Get("PageSize"))
	page, err2 := strconv.Atoi(p.Get("CurrentPage"))
	if err1 != nil || err2 != nil || size < 1 || size > 50 || page < 1 {
		return nil, business("isv.INVALID_PARAMETERS", "分页参数不合法")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows []map[string]any
	list := s.byPhone[phone]
	for i := len(list) - 1; i >= 0; i-- { // newest first
		t := list[i]
		local := t.at.In(china)
		if t.acct != a || now.Sub(t.at) < visibleAfter || local.Format("20060102") != p.Get("SendDate") {
			continue
		}
		if biz := p.Get("BizId"); biz != "" && biz != t.bizID {
			continue
		}
		rows = append(rows, t.detail())
	}
	from := min((page-1)*size, len(rows))
	part := rows[from:min(from+size, len(rows))]
	if part == nil {
		part = []map[string]any{}
	}
	return map[string]any{
		"TotalCount": len(rows), "SmsSendDetailDTOs": map[string]any{"SmsSendDetailDTO": part},
	}, nil
}

// sendStatus are the vendor's numbers for the states.
var sendStatus = map[string]int{stateSubmitted: 1, stateFailed: 2, stateDelivered: 3}

func (t *text) detail() map[string]any {
	d := map[string]any{
		"PhoneNum": t.phone, "Content": t.body, "TemplateCode": t.template, "SendDate": t.at.In(china).Format(pushTime),
		"SendStatus": sendStatus[t.state], "ErrCode": t.errCode, "OutId": t.outID, "ReceiveDate": "",
	}
	if !t.received.IsZero() {
		d["ReceiveDate"] = t.received.In(china).Format(pushTime)
	}
	return d
}

// statistics is QuerySendStatistics over all of an account, by day.
func (s *Sim) statistics(a *account, p url.Values) (map[string]any, *codeError) {
	from, to := p.Get("StartDate"), p.Get("EndDate")
	if from == "" || to == "" {
		return nil, missing("StartDate")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	days := map[string]*[4]int{}
	for _, t := range s.kept {
		d := t.at.In(china).Format("20060102")
		if t.acct != a || d < from || d > to {
			continue
		}
		if days[d] == nil {
			days[d] = &[4]int{}
		}
		days[d][0] += t.segments
		days[d][sendStatus[t.state]] += t.segments
	}
	list := make([]map[string]any, 0, len(days))
	for d, n := range days {
		list = append(list, map[string]any{
			"SendDate": d, "TotalCount": n[0], "NoRespondedCount": n[1], "RespondedFailCount": n[2], "RespondedSuccessCount": n[3],
		})
	}
	sort.Slice(list, func(i, j int) bool { return list[i]["SendDate"].(string) < list[j]["SendDate"].(string) })
	return map[string]any{"Data": map[string]any{"TotalSize": len(list), "TargetList": list}}, nil
}

func statusOf(p *int) int {
	if p == nil {
		return approved
	}
	return *p
}

func (a *account) findTemplate(p url.Values) (simcore.SMSTemplate, *codeError) {
	if p.Get("TemplateCode") == "" {
		return simcore.SMSTemplate{}, missing("TemplateCode")
	}
	t, ok := a.templates[p.Get("TemplateCode")]
	if !ok {
		return t, business("isv.SMS_TEMPLATE_ILLEGAL", "该账号下找不到对应模板")
	}
	return t, nil
}

const registered = "2026-01-05 09:00:00"

func (s *Sim) queryTemplate(a *account, p url.Values) (map[string]any, *codeError) {
	t, failed := a.findTemplate(p)
	if failed != nil {
		return nil, failed
	}
	return map[string]any{
		"TemplateCode": t.Code, "TemplateName": t.Name, "TemplateContent": t.Content, "TemplateType": kindOf(t),
		"TemplateStatus": statusOf(t.Status), "CreateDate": registered, "Reason": "",
	}, nil
}

func (s *Sim) getTemplate(a *account, p url.Values) (map[string]any, *codeError) {
	t, failed := a.findTemplate(p)
	if failed != nil {
		return nil, failed
	}
	rule, err := json.Marshal(t.Rule)
	if err != nil || t.Rule == nil {
		rule = []byte("{}")
	}
	// GetSmsTemplate answers type and status as words of digits.
	return map[string]any{
		"TemplateCode": t.Code, "TemplateName": t.Name, "TemplateContent": t.Content, "TemplateType": strconv.Itoa(kindOf(t)),
		"TemplateStatus": strconv.Itoa(statusOf(t.Status)), "VariableAttribute": string(rule), "CreateDate": registered, "IntlType": 0,
		"AuditInfo": map[string]any{"AuditDate": registered, "RejectInfo": ""},
	}, nil
}

func (s *Sim) listTemplates(a *account, _ url.Values) (map[string]any, *codeError) {
	list := make([]map[string]any, 0, len(a.cfg.Templates))
	for _, t := range a.cfg.Templates {
		list = append(list, map[string]any{
			"TemplateCode": t.Code, "TemplateName": t.Name, "TemplateContent": t.Content, "TemplateType": kindOf(t),
			"AuditStatus": auditWord(statusOf(t.Status)), "CreateDate": registered, "OuterTemplateType": kindOf(t),
		})
	}
	return map[string]any{"SmsTemplateList": list, "TotalCount": len(list), "CurrentPage": 1, "PageSize": 50}, nil
}

func auditWord(status int) string {
	switch status {
	case 0:
		return "AUDIT_STATE_INIT"
	case approved:
		return "AUDIT_STATE_PASS"
	case 2:
		return "AUDIT_STATE_NOT_PASS"
	default:
		return "AUDIT_STATE_CANCEL"
	}
}

func (s *Sim) querySign(a *account, p url.Values) (map[string]any, *codeError) {
	name := p.Get("SignName")
	if name == "" {
		return nil, missing("SignName")
	}
	x, ok := a.signs[name]
	if !ok {
		return nil, business("isv.SMS_SIGNATURE_ILLEGAL", "该账号下找不到对应签名")
	}
	return map[string]any{"SignName": name, "SignStatus": statusOf(x.Status), "CreateDate": registered, "Reason": ""}, nil
}

func (s *Sim) listSigns(a *account, _ url.Values) (map[string]any, *codeError) {
	list := make([]map[string]any, 0, len(a.cfg.Signs))
	for _, x := range a.cfg.Signs {
		list = append(list, map[string]any{
			"SignName": x.Name, "AuditStatus": auditWord(statusOf(x.Status)), "CreateDate": registered, "BusinessType": "",
		})
	}
	return map[string]any{"SmsSignList": list, "TotalCount": len(list), "CurrentPage": 1, "PageSize": 50}, nil
}
