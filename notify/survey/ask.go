package survey

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"guanjia/internal/company"
	"guanjia/internal/conversation"
	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/jobs"
	"guanjia/internal/ledger"
	"guanjia/internal/wording"
)

// ClosedTx implements desk.Listener: every case that is closed is asked about,
// by the survey of its kind. Where the resident himself said that it is solved,
// the answer that he gets asks in the same breath.
func (s *Surveys) ClosedTx(ctx context.Context, tx *db.Tx, by desk.By, c desk.Case) error {
	i, x, made, err := s.inviteTx(ctx, tx, c)
	if err != nil || !made {
		return err
	}
	switch {
	case c.Topic == desk.TopicFollowUp, c.Topic == desk.TopicBinding:
		return s.skipTx(ctx, tx, x, i, SkipFollowUp)
	case by.Resident && by.Via == "wechat":
		return s.askedTx(ctx, tx, x, i, ChannelChat, c.AccountID, c.OpenID)
	}
	if err := countTx(ctx, tx, x, i.building, "", []delta{{Category: "#waiting", N: 1}}); err != nil {
		return err
	}
	return s.Jobs.PutTx(ctx, tx, askJob(i.id))
}

// ReopenedTx implements desk.Listener: a question that has not left would be
// about something that goes on.
func (s *Surveys) ReopenedTx(ctx context.Context, tx *db.Tx, _ desk.By, c desk.Case) error {
	i, ok, err := oneInvitation(ctx, tx, `i.company_id = $1 AND i.ref_id = $2 AND i.state = 'waiting'`, c.CompanyID, c.ID)
	if err != nil || !ok {
		return err
	}
	// It is put again when the case is closed again.
	if _, err := tx.ExecContext(ctx, `DELETE FROM survey_invitations WHERE id = $1`, i.id); err != nil {
		return fmt.Errorf("survey: take back a question: %w", err)
	}
	return countTx(ctx, tx, Survey{ID: i.surveyID}, i.building, "", []delta{{Category: "#waiting", N: -1}})
}

// RatedTx implements desk.Listener: a rating is the answer to the survey of its
// kind, whichever way it came.
func (s *Surveys) RatedTx(ctx context.Context, tx *db.Tx, by desk.By, c desk.Case) error {
	i, x, made, err := s.inviteTx(ctx, tx, c)
	if err != nil {
		return err
	}
	if err := s.unaskedTx(ctx, tx, x, i, made, c); err != nil {
		return err
	}
	set, _, err := s.settings(ctx, c.CompanyID)
	if err != nil {
		return err
	}
	channel := ChannelChat
	if by.Via == "sms" {
		channel = ChannelSMS
	}
	_, err = s.saveTx(ctx, tx, x, i, given{scores: map[string]int{x.Form.Overall().ID: c.Rating}, comment: cleanWords(c.RatingText), keep: true, channel: channel}, set.Settings)
	return err
}

// unaskedTx counts somebody as asked who answers before the question has left,
// or who was not to be asked.
func (s *Surveys) unaskedTx(ctx context.Context, tx *db.Tx, x Survey, i invitation, made bool, c desk.Case) error {
	var before []delta
	switch {
	case i.state == InvitationSkipped:
		before = []delta{{Category: "#skip:" + i.skip, N: -1}}
		if _, err := tx.ExecContext(ctx, `UPDATE survey_invitations SET state = 'waiting' WHERE id = $1 AND state = 'skipped'`, i.id); err != nil {
			return fmt.Errorf("survey: take back a skip: %w", err)
		}
	case i.state == InvitationWaiting && !made:
		before = []delta{{Category: "#waiting", N: -1}}
	case i.state != InvitationWaiting:
		return nil
	}
	if err := countTx(ctx, tx, x, i.building, "", before); err != nil {
		return err
	}
	return s.askedTx(ctx, tx, x, i, ChannelChat, c.AccountID, c.OpenID)
}

// kindOf gives the survey that a case is asked about by.
func kindOf(c desk.Case) Kind {
	if c.Kind == "inquiry" {
		return AfterInquiry
	}
	return AfterCase
}

// inviteTx gives the invitation of a case, made tells whether by this call.
func (s *Surveys) inviteTx(ctx context.Context, tx *db.Tx, c desk.Case) (i invitation, x Survey, made bool, err error) {
	i, ok, err := oneInvitation(ctx, tx, `i.company_id = $1 AND i.ref_id = $2`, c.CompanyID, c.ID)
	if err != nil {
		return i, x, false, err
	}
	if ok {
		x, ok, err = oneSurvey(ctx, tx, `id = $1`, i.surveyID)
		if err == nil && !ok {
			err = fmt.Errorf("survey: the survey of an invitation is gone")
		}
		return i, x, false, err
	}
	if x, err = s.standingTx(ctx, tx, c.CompanyID, c.ProjectID, kindOf(c)); err != nil {
		return i, x, false, err
	}
	building, _, _ := strings.Cut(c.Unit, "-")
	if building == "" {
		building = c.Building
	}
	person := c.ResidentID
	switch {
	case person != "":
	case c.OpenID != "":
		person = c.OpenID
	case c.Phone != "":
		person = c.Phone
	default:
		person = c.ID
	}
	i = invitation{
		id: strings.ReplaceAll(db.NewID(), "-", ""), surveyID: x.ID, companyID: c.CompanyID, person: person, residentID: c.ResidentID, name: c.ResidentName,
		unitID: c.UnitID, unit: c.Unit, building: building, countKey: c.ID, refID: c.ID, refNo: c.No, state: InvitationWaiting, created: db.At(s.now()),
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO survey_invitations (id, survey_id, company_id, person, resident_id, name, unit_id, unit, building, count_key, ref_id, ref_no,
			channel, account_id, address, state, skip_code, asking, doubted, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, '', '', '', 'waiting', '', '', false, $13)`,
		i.id, i.surveyID, i.companyID, i.person, i.residentID, i.name, i.unitID, i.unit, i.building, i.countKey, i.refID, i.refNo, i.created)
	if err != nil {
		return i, x, false, fmt.Errorf("survey: invite: %w", err)
	}
	return i, x, true, nil
}

// standingTx gives the survey that stands for a kind in a project, in the
// version of its questionnaire that is shipped now; it is made when it is not
// there yet. One that ran with an older version keeps its answers.
func (s *Surveys) standingTx(ctx context.Context, tx *db.Tx, companyID, projectID string, kind Kind) (Survey, error) {
	form := s.forms[string(kind)]
	find := func() (Survey, bool, error) {
		return oneSurvey(ctx, tx, `company_id = $1 AND project_id = $2 AND kind = $3 AND standing = $4`, companyID, projectID, string(kind), form.ID())
	}
	x, ok, err := find()
	if err != nil || ok {
		return x, err
	}
	number, err := nextNoTx(ctx, tx, companyID)
	if err != nil {
		return x, err
	}
	now := Time{Time: s.now()}
	x = Survey{
		ID: db.NewID(), CompanyID: companyID, No: formatNo(number), ProjectID: projectID, State: Running, CreatedAt: now, ApprovedAt: now, StartedAt: now, Form: form,
		Draft: Draft{Kind: string(kind), Title: form.Title, Project: projectID, Questionnaire: form.Code, Count: CountPerson, StartsAt: now},
	}
	if p, ok, err := s.Estate.ProjectByID(ctx, tx, companyID, projectID); err != nil {
		return x, fmt.Errorf("survey: project: %w", err)
	} else if ok {
		x.facts.Project = p.Name
	}
	if _, err := insertTx(ctx, tx, x, number, form.ID()); err != nil {
		return x, err
	}
	if x, ok, err = find(); err == nil && !ok {
		err = errStale // of two that made it at once this one waits for the other
	}
	return x, err
}

func (s *Surveys) skipTx(ctx context.Context, tx *db.Tx, x Survey, i invitation, why string) error {
	res, err := tx.ExecContext(ctx, `UPDATE survey_invitations SET state = 'skipped', skip_code = $2 WHERE id = $1 AND state = 'waiting'`, i.id, why)
	if err != nil {
		return fmt.Errorf("survey: skip: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	return countTx(ctx, tx, x, i.building, "", []delta{{Category: "#skip:" + why, N: 1}})
}

// askedTx notes that the question has been put.
func (s *Surveys) askedTx(ctx context.Context, tx *db.Tx, x Survey, i invitation, channel, accountID, address string) error {
	res, err := tx.ExecContext(ctx, `UPDATE survey_invitations SET state = 'asked', skip_code = '', channel = $2, account_id = $3, address = $4, asked_at = $5, talked_at = $5 WHERE id = $1 AND state = 'waiting'`,
		i.id, channel, accountID, address, db.At(s.now()))
	if err != nil {
		return fmt.Errorf("survey: mark as asked: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	return countTx(ctx, tx, x, i.building, "", []delta{{Category: "#asked", N: 1}})
}

func askJob(id string) jobs.Job {
	return jobs.Job{Kind: JobAsk, Args: jobArgs{id}, UniqueKey: id}
}

// waitingAsks are the questions about cases that wait to leave.
func (s *Surveys) waitingAsks(ctx context.Context) ([]string, error) {
	rows, err := s.DB.QueryContext(ctx, `SELECT id FROM survey_invitations WHERE state = 'waiting' AND ref_id <> '' ORDER BY id LIMIT 5000`)
	if err != nil {
		return nil, fmt.Errorf("survey: look for questions: %w", err)
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("survey: look for questions: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// way is how one person is asked about his case.
type way struct {
	first ledger.Hop
	rest  []ledger.Hop
	text  wording.Text
	skip  string
}

// ask puts the question about one case: in the conversation while its window is
// open, else by template message with a page, else by SMS where the company has
// a text that its carrier allows for it. It says when to look again.
func (s *Surveys) ask(ctx context.Context, id string) (time.Duration, error) {
	i, ok, err := oneInvitation(ctx, s.DB, `i.id = $1 AND i.state = 'waiting'`, id)
	if err != nil || !ok {
		return 0, err
	}
	c, err := s.Desk.ByID(ctx, i.refID)
	if err != nil {
		return 0, fmt.Errorf("survey: read the case of a question: %w", err)
	}
	owner, dir, err := s.settings(ctx, i.companyID)
	if err != nil {
		return 0, err
	}
	now := s.now()
	if open := permitted(now, owner.Settings.SurveyFrom, owner.Settings.SurveyTo); open.After(now) {
		return open.Sub(now), nil
	}
	troubled, all, err := s.troubled(ctx, i.companyID, c.ProjectID)
	if err != nil {
		return 0, err
	}
	if all || i.building != "" && slices.Contains(troubled, i.building) {
		_, err := s.DB.ExecContext(ctx, `UPDATE survey_invitations SET skip_code = '`+SkipOutage+`' WHERE id = $1 AND state = 'waiting' AND skip_code = ''`, i.id)
		if err != nil {
			return 0, fmt.Errorf("survey: note why a question waits: %w", err)
		}
		return outageEvery, nil
	}
	w, err := s.wayTo(ctx, owner, dir, i, c)
	if err != nil {
		return 0, err
	}
	s.point("survey.ask")
	return 0, s.DB.InTx(ctx, "survey.ask", func(ctx context.Context, tx *db.Tx) error { return s.putAskTx(ctx, tx, i, c, owner, w) })
}

func (s *Surveys) putAskTx(ctx context.Context, tx *db.Tx, i invitation, c desk.Case, owner company.Company, w way) error {
	x, ok, err := oneSurvey(ctx, tx, `id = $1`, i.surveyID)
	if err != nil || !ok {
		return err
	}
	// Locked, so that two runs of the job ask once.
	res, err := tx.ExecContext(ctx, `UPDATE survey_invitations SET talked_at = $2 WHERE id = $1 AND state = 'waiting'`, i.id, db.At(s.now()))
	if err != nil {
		return fmt.Errorf("survey: lock a question: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	if err := countTx(ctx, tx, x, i.building, "", []delta{{Category: "#waiting", N: -1}}); err != nil {
		return err
	}
	if w.skip != "" {
		return s.skipTx(ctx, tx, x, i, w.skip)
	}
	channel := w.first.Channel
	if channel == ledger.ChannelService {
		channel = ChannelChat
	}
	if err := s.askedTx(ctx, tx, x, i, channel, w.first.AccountID, w.first.Address); err != nil {
		return err
	}
	order := ""
	if c.ConversationID != "" {
		order = "conversation:" + c.ConversationID
	}
	del, err := s.Ledger.PutTx(ctx, tx, ledger.New{
		CompanyID: i.companyID, Channel: w.first.Channel, AccountID: w.first.AccountID, Address: w.first.Address, Lane: ledger.LaneNormal, Class: ledger.ClassSurvey,
		Plan: w.rest, Text: w.text, Payload: w.first.Payload, RefKind: RefAsk, RefID: i.id, OrderKey: order,
		ValidUntil: s.now().AddDate(0, 0, owner.Settings.CaseAskDays),
	})
	if err != nil {
		return fmt.Errorf("survey: put a question: %w", err)
	}
	if c.ConversationID == "" || channel == ChannelSMS {
		return nil
	}
	return s.Conversations.AppendTx(ctx, tx, conversation.Outbound{ConversationID: c.ConversationID, Kind: conversation.AnswerText, Text: w.text.String(), DeliveryID: del})
}

// wayTo chooses how somebody is asked about his case, or why he is not.
func (s *Surveys) wayTo(ctx context.Context, owner company.Company, dir *company.Directory, i invitation, c desk.Case) (way, error) {
	if why, err := s.whyNot(ctx, owner, i); err != nil || why != "" {
		return way{skip: why}, err
	}
	outs, err := s.outOf(ctx, i)
	if err != nil {
		return way{}, err
	}
	purpose, key, hint := purposeCase, "survey.ask_case", "case"
	if kindOf(c) == AfterInquiry {
		purpose, key, hint = purposeInquiry, "survey.ask_inquiry", "inquiry"
	}
	var hops []ledger.Hop
	var w way
	if c.OpenID != "" && !outs[ChannelTemplate] {
		if hops, err = s.chatHops(ctx, dir, i, c, hint, owner.Settings.CaseAskDays); err != nil {
			return w, err
		}
		if len(hops) > 0 {
			if w.text, err = s.text(key, "case_no", c.No, "summary", c.Summary); err != nil {
				return w, err
			}
		}
	}
	if hop, text, ok := s.smsHop(owner, dir, purpose, c); ok && !outs[ChannelSMS] {
		if s.needsConsent(purpose) {
			if ok, err = s.consented(ctx, i.companyID, i.residentID); err != nil {
				return w, err
			}
		}
		switch {
		case ok:
			hops = append(hops, hop)
			if w.text.IsZero() {
				w.text = text
			}
		case len(hops) == 0:
			return way{skip: SkipConsent}, nil
		}
	}
	if len(hops) == 0 {
		w.skip = SkipNoAddress
		if outs[ChannelTemplate] || outs[ChannelSMS] {
			w.skip = SkipOptOut
		}
		return w, nil
	}
	w.first, w.rest = hops[0], hops[1:]
	return w, nil
}

// chatHops are the ways within WeChat: the open conversation with buttons, and
// the template message with a page.
func (s *Surveys) chatHops(ctx context.Context, dir *company.Directory, i invitation, c desk.Case, hint string, days int) ([]ledger.Hop, error) {
	var hops []ledger.Hop
	following, known, err := s.Conversations.Following(ctx, s.DB, c.AccountID, c.OpenID)
	if err != nil {
		return nil, fmt.Errorf("survey: does he follow: %w", err)
	}
	if known && !following {
		return nil, nil
	}
	window, err := s.Conversations.Window(ctx, s.DB, c.AccountID, c.OpenID)
	if err != nil {
		return nil, fmt.Errorf("survey: reply window: %w", err)
	}
	if window.Open && window.Left > 0 {
		var options []desk.Option
		for score := 5; score >= 1; score-- {
			options = append(options, desk.Option{ID: menuID(c.No, score), Text: strconv.Itoa(score) + " " + s.Book.Label("satisfaction", strconv.Itoa(score))})
		}
		hops = append(hops, ledger.Hop{Channel: ledger.ChannelService, AccountID: c.AccountID, Address: c.OpenID, Payload: ledger.HopPayload(map[string]any{"options": options})})
	}
	acc, ok := dir.WeChatByID(c.AccountID)
	if !ok || acc.Templates[purposeCase] == "" || s.PublicURL == "" {
		return hops, nil
	}
	at := c.ClosedAt
	if at.IsZero() {
		at = s.now()
	}
	msg, err := s.Book.Template(purposeCase, wording.Vars{"case_no": c.No, "summary": c.Summary, "hint": s.Book.Label("survey_hint", hint), "time": at.In(localTime()).Format("2006年1月2日 15:04")})
	if err != nil {
		return nil, fmt.Errorf("survey: render a template message: %w", err)
	}
	link := linkPayload{ID: i.id, Expires: s.now().AddDate(0, 0, days).Unix()}
	return append(hops, ledger.Hop{Channel: ledger.ChannelTemplate, AccountID: c.AccountID, Address: c.OpenID,
		Payload: ledger.HopPayload(map[string]any{"purpose": purposeCase, "fields": msg.Data, "link": link})}), nil
}

func (s *Surveys) smsHop(owner company.Company, dir *company.Directory, purpose string, c desk.Case) (ledger.Hop, wording.Text, bool) {
	acc, ok := dir.SMSOf(owner.ID)
	tpl, known := s.Book.SMSTemplateOf(purpose)
	if !ok || c.Phone == "" || !known || !tpl.Survey || acc.Templates[purpose] == "" {
		return ledger.Hop{}, wording.Text{}, false
	}
	sms, err := s.Book.SMS(purpose, wording.Vars{"case_no": c.No, "phone": phoneOf(owner.Settings)})
	if err != nil {
		s.Log.Error("the SMS that asks about a case does not render", "purpose", purpose, "error", err)
		return ledger.Hop{}, wording.Text{}, false
	}
	return ledger.Hop{Channel: ledger.ChannelSMS, AccountID: acc.ID, Address: c.Phone, Payload: ledger.HopPayload(map[string]any{"purpose": sms.Purpose, "params": sms.Params})}, sms.Text, true
}

// whyNot tells why a person is not asked now, whatever the way.
func (s *Surveys) whyNot(ctx context.Context, owner company.Company, i invitation) (string, error) {
	if i.residentID != "" {
		muted, err := s.muted(ctx, s.DB, i.companyID, i.residentID)
		if err != nil || muted {
			return map[bool]string{true: SkipMuted}[muted], err
		}
	}
	if owner.Settings.SurveySkipStaff && i.unitID != "" {
		yes := true
		homes, err := s.staffHomes(ctx, owner, Draft{SkipStaff: &yes})
		if err != nil {
			return "", err
		}
		if slices.Contains(homes, i.unitID) {
			return SkipStaff, nil
		}
	}
	if days := owner.Settings.CaseRestDays; days > 0 {
		var lately bool
		err := s.DB.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM survey_invitations WHERE company_id = $1 AND person = $2 AND asked_at > $3)`,
			i.companyID, i.person, db.At(s.now().AddDate(0, 0, -days))).Scan(&lately)
		if err != nil {
			return "", fmt.Errorf("survey: was he asked lately: %w", err)
		}
		if lately {
			return SkipLately, nil
		}
	}
	return "", nil
}

// outOf tells which channels a resident has opted out of.
func (s *Surveys) outOf(ctx context.Context, i invitation) (map[string]bool, error) {
	out := map[string]bool{}
	if i.residentID == "" {
		return out, nil
	}
	text, args := s.Estate.OptedOut(i.companyID, optOutClass, 1)
	for _, ch := range []string{ChannelTemplate, ChannelSMS} {
		var yes bool
		err := s.DB.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM (`+text+`) o WHERE 1 = 1 AND $3 IN (`+text+`))`, append(args[:2:2], i.residentID+":"+ch)...).Scan(&yes)
		if err != nil {
			return nil, fmt.Errorf("survey: opt-outs: %w", err)
		}
		out[ch] = yes
	}
	return out, nil
}

// menuID is the number of a button of a question about a case: 8, the case
// number in nine digits, the score. Numbers only: the platform loses letters.
func menuID(caseNo string, score int) string {
	return fmt.Sprintf("8%09s%d", caseNo, score)
}

// readMenuID reads it back.
func readMenuID(id string) (caseNo string, score int, ok bool) {
	if len(id) != 11 || id[0] != '8' {
		return "", 0, false
	}
	n, err := strconv.ParseInt(id[1:10], 10, 64)
	if err != nil || id[10] < '1' || id[10] > '5' {
		return "", 0, false
	}
	return strconv.FormatInt(n, 10), int(id[10] - '0'), true
}

var _ desk.Listener = (*Surveys)(nil)
