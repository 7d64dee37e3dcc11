package bot

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"guanjia/internal/db"
	"guanjia/internal/desk"
	"guanjia/internal/estate"
	"guanjia/internal/ledger"
	"guanjia/internal/wording"

	"golang.org/x/text/width"
)

// run is a step still to be decided.
type run func(ctx context.Context) (step, error)

// words that always work (interfaces section 3), folded to half width.
var (
	bindWords  = regexp.MustCompile(`^绑定\s*(\S+)\s+(\S+)$`)
	bindAlone  = regexp.MustCompile(`^绑定`)
	queryAlone = regexp.MustCompile(`^(?:查询|查询工单|查询进度|我的工单)$`)
	queryWords = regexp.MustCompile(`^(?:查询|查)\s*#?\s*(\d{6,9})$`)
	sixDigits  = regexp.MustCompile(`^\d{6}$`)
	oneDigit   = regexp.MustCompile(`^([1-5])(?:\s*[分星])?$`)
	rateWords  = regexp.MustCompile(`^([1-5])\s*[分星]?[\s,，。.!！、]+(.+)$`)
	callMe     = regexp.MustCompile(`^(?:请?(?:叫|称呼)我|称呼)\s*(\p{Han}{1,4}(?:先生|女士|小姐|老师|阿姨|叔叔|大爷|大妈|奶奶|爷爷))$`)
	menuID     = regexp.MustCompile(`^(\d{6,9})([123])$`)
)

// followUps are the answers to "solved?", as words and as last digit of a menu id.
var followUps = map[string]string{
	"已解决": desk.FollowUpSolved, "解决了": desk.FollowUpSolved, "1": desk.FollowUpSolved,
	"部分解决": desk.FollowUpPartly, "2": desk.FollowUpPartly,
	"未解决": desk.FollowUpNotSolved, "没解决": desk.FollowUpNotSolved, "没有解决": desk.FollowUpNotSolved, "3": desk.FollowUpNotSolved,
}

// command recognises the fixed words; everything else is the classifier's.
func (t *turn) command() (run, bool) {
	words := strings.TrimRight(width.Fold.String(t.said), " 。.!！~")
	if run, ok := t.verdict(words); ok {
		return run, true
	}
	if m := menuID.FindStringSubmatch(t.m.MenuID); m != nil {
		return func(ctx context.Context) (step, error) { return t.followUp(ctx, m[1], followUps[m[2]]) }, true
	}
	switch words {
	case "人工", "转人工", "人工客服":
		return t.handoff, true
	case "取消":
		return t.cancel, true
	case "撤回", "撤销", "不用处理了", "不用处理", "不用来了", "不用修了":
		return t.withdraw, true
	case "帮助", "菜单", "help":
		return func(context.Context) (step, error) {
			return t.say("help", wording.Vars{"bot": t.company.Settings.BotName, "hotline": t.company.Settings.Hotline})
		}, true
	case "退订":
		return t.unsubscribe, true
	case "已解决", "解决了", "部分解决", "未解决", "没解决", "没有解决":
		return func(ctx context.Context) (step, error) { return t.followUp(ctx, "", followUps[words]) }, true
	}
	if m := bindWords.FindStringSubmatch(words); m != nil {
		return func(ctx context.Context) (step, error) { return t.bind(ctx, m[1], m[2]) }, true
	}
	if bindAlone.MatchString(words) && len([]rune(words)) <= 12 {
		return func(context.Context) (step, error) { return t.say("bind.how", nil) }, true
	}
	if queryAlone.MatchString(words) {
		return t.statuses, true
	}
	if m := queryWords.FindStringSubmatch(words); m != nil {
		return func(ctx context.Context) (step, error) { return t.status(ctx, m[1]) }, true
	}
	if sixDigits.MatchString(words) {
		return func(ctx context.Context) (step, error) { return t.code(ctx, words) }, true
	}
	if m := oneDigit.FindStringSubmatch(words); m != nil {
		return func(ctx context.Context) (step, error) { return t.rate(ctx, int(m[1][0]-'0'), "") }, true
	}
	if m := rateWords.FindStringSubmatch(words); m != nil {
		return func(ctx context.Context) (step, error) { return t.rate(ctx, int(m[1][0]-'0'), m[2]) }, true
	}
	if m := callMe.FindStringSubmatch(words); m != nil {
		return func(ctx context.Context) (step, error) { return t.address(ctx, m[1]) }, true
	}
	return nil, false
}

// bind starts binding the writer to a home: a code goes to the registered
// phone. A phone that is not registered for the home gets the same answer on
// screen and no SMS; staff get a review task (interfaces section 3).
func (t *turn) bind(ctx context.Context, home, phone string) (step, error) {
	unit, okUnit := estate.ParseUnitCode(home)
	number, okPhone := estate.NormalizePhone(phone)
	if !okUnit {
		return t.say("bind.bad_unit", nil)
	}
	if !okPhone {
		return t.say("bind.bad_phone", nil)
	}
	sms, ok := t.dir.SMSOf(t.m.CompanyID)
	if !ok {
		return step{}, errors.New("company has no SMS account to send codes with")
	}
	prepared, err := t.e.Desk.Prepare(ctx, t.m.CompanyID)
	if err != nil {
		return step{}, err
	}
	return step{write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		start, err := t.e.Estate.StartBindTx(ctx, tx, t.m.CompanyID, t.m.AccountID, t.m.OpenID, unit, number)
		if err != nil {
			return reply{}, err
		}
		switch start.Outcome {
		case estate.TooSoon:
			return t.reply("bind.too_soon", nil)
		case estate.CodeSent:
			if err := t.sendCodeTx(ctx, tx, sms.ID, start); err != nil {
				return reply{}, err
			}
		case estate.AlreadyBound:
			return t.reply("bind.already", wording.Vars{"unit": start.Unit})
		case estate.NotRegistered:
			if err := t.reviewTx(ctx, tx, prepared, unit, number[len(number)-4:]); err != nil {
				return reply{}, err
			}
		}
		return t.reply("bind.code_sent", wording.Vars{"phone_tail": number[len(number)-4:], "minutes": minutesOf(t.company.Settings.CodeTTL)})
	}}, nil
}

func (t *turn) sendCodeTx(ctx context.Context, tx *db.Tx, smsID string, start estate.BindStart) error {
	sms, err := t.e.Book.SMS("bind_code", wording.Vars{"code": start.Code, "minutes": minutesOf(t.company.Settings.CodeTTL)})
	if err != nil {
		return err
	}
	_, err = t.e.Ledger.PutTx(ctx, tx, ledger.New{
		CompanyID: t.m.CompanyID, Channel: ledger.ChannelSMS, AccountID: smsID, Address: start.Phone, Lane: ledger.LaneReply, Class: ledger.ClassCode,
		Text: sms.Text, Payload: map[string]any{"purpose": sms.Purpose, "params": sms.Params},
		RefKind: "bind", RefID: start.BindID, ValidUntil: t.e.Clock.Now().Add(t.company.Settings.CodeTTL),
	})
	return err
}

func minutesOf(d time.Duration) string { return itoa(max(1, int(d/time.Minute))) }

// reviewTx opens the task in which staff look at a binding nobody registered.
func (t *turn) reviewTx(ctx context.Context, tx *db.Tx, p desk.Prepared, unit, tail string) error {
	text, err := t.e.Book.Say("group.review_binding", wording.Vars{"unit": unit, "phone_tail": tail})
	if err != nil {
		return err
	}
	open := t.opening(nil, "inquiry")
	open.Category, open.Topic, open.Text, open.Unit, open.Line = "customer_service", desk.TopicBinding, text.String(), unit, desk.LineCustomerService
	_, err = t.e.Desk.OpenTx(ctx, tx, p, t.by(), open)
	return err
}

// code ends a binding with the six digits of the SMS. Six digits that nobody
// waits for may be a case number, or a code that came too late.
func (t *turn) code(ctx context.Context, digits string) (step, error) {
	pending, err := t.e.Estate.BindPending(ctx, t.e.DB, t.m.CompanyID, t.m.OpenID)
	if err != nil {
		return step{}, err
	}
	if !pending {
		c, found, err := t.newestCase(ctx, func(c desk.Case) bool { return c.No == digits })
		if err != nil {
			return step{}, err
		}
		if found {
			r, err := t.statusReply(c)
			return step{say: r}, err
		}
	}
	// A wrong try must be counted even though nothing is bound, so the refusal
	// is an answer of the transaction and not its failure.
	return step{write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		r, home, err := t.e.Estate.ConfirmBindTx(ctx, tx, t.m.CompanyID, t.m.OpenID, digits)
		switch {
		case err == nil:
			return t.reply("bind.done", wording.Vars{"unit": home.Unit, "name": surname(r.Name)})
		case errors.Is(err, estate.ErrWrongCode):
			return t.wrongCode(ctx, tx)
		case errors.Is(err, estate.ErrCodeExpired):
			return t.reply("bind.expired", nil)
		case errors.Is(err, estate.ErrNoCode):
			return t.reply("bind.no_code", nil)
		default:
			return reply{}, err
		}
	}}, nil
}

// wrongCode says how many tries are left of the code just tried.
func (t *turn) wrongCode(ctx context.Context, tx *db.Tx) (reply, error) {
	left, err := t.e.Estate.BindTriesLeft(ctx, tx, t.m.CompanyID, t.m.OpenID)
	if err != nil {
		return reply{}, err
	}
	if left <= 0 {
		return t.reply("bind.tries_over", nil)
	}
	return t.reply("bind.wrong_code", wording.Vars{"left": itoa(left)})
}

// cancel takes back what is running: a binding, else what withdraw takes back.
func (t *turn) cancel(ctx context.Context) (step, error) {
	pending, err := t.e.Estate.BindPending(ctx, t.e.DB, t.m.CompanyID, t.m.OpenID)
	if err != nil {
		return step{}, err
	}
	if pending {
		return step{write: func(ctx context.Context, tx *db.Tx) (reply, error) {
			if err := t.e.Estate.CancelBindTx(ctx, tx, t.m.CompanyID, t.m.OpenID); err != nil {
				return reply{}, err
			}
			return t.reply("cancelled", nil)
		}}, nil
	}
	return t.withdraw(ctx)
}

// withdraw takes back the newest open case. An emergency is looked at all the
// same, so those on duty hear what the resident says and go on.
func (t *turn) withdraw(ctx context.Context) (step, error) {
	c, found, err := t.newestCase(ctx, func(c desk.Case) bool { return c.State.Open() })
	if err != nil {
		return step{}, err
	}
	if !found {
		return t.say("nothing_to_cancel", nil)
	}
	if c.Emergency() {
		return step{write: func(ctx context.Context, tx *db.Tx) (reply, error) {
			c, err := t.e.Desk.AppendTx(ctx, tx, t.by(), c, t.said)
			if err != nil {
				return reply{}, err
			}
			return t.reply("danger.clear", wording.Vars{"case_no": c.No})
		}}, nil
	}
	return step{write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		c, err := t.e.Desk.WithdrawTx(ctx, tx, t.by(), c, t.said)
		if err != nil {
			return reply{}, err
		}
		return t.reply("case.withdrawn", wording.Vars{"case_no": c.No})
	}}, nil
}

// unsubscribe stops surveys and other mail of choice, never an emergency (glossary: opt out).
func (t *turn) unsubscribe(ctx context.Context) (step, error) {
	who, err := t.who(ctx)
	if err != nil {
		return step{}, err
	}
	r, err := t.reply("unsubscribe.done", nil)
	if err != nil || who == nil {
		return step{say: r}, err
	}
	return step{write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		return r, t.e.Estate.OptOutTx(ctx, tx, t.m.CompanyID, who.ID, estate.OptOutAll, "optional", "wechat")
	}}, nil
}

// followUp records the resident's answer to "solved?" for the named case, or
// for the one that was asked about.
func (t *turn) followUp(ctx context.Context, no, result string) (step, error) {
	c, found, err := t.newestCase(ctx, func(c desk.Case) bool {
		if no != "" {
			return c.No == no
		}
		return c.State == desk.StateHandled || c.State == desk.StateClosed
	})
	if err != nil {
		return step{}, err
	}
	if !found {
		return t.followUpEarly(ctx, no)
	}
	if result == desk.FollowUpSolved {
		return t.solved(c)
	}
	return t.again(c, result), nil
}

// followUpEarly answers 「已解决」 and its like where nobody asked: staff still
// work on the case, so they hear it, and the resident is told where it stands.
func (t *turn) followUpEarly(ctx context.Context, no string) (step, error) {
	if no != "" {
		return t.say("case.unknown", nil)
	}
	c, found, err := t.newestCase(ctx, func(c desk.Case) bool { return c.State.Open() })
	if err != nil {
		return step{}, err
	}
	if !found {
		return t.say("case.none", nil)
	}
	return step{write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		after, err := t.e.Desk.AppendTx(ctx, tx, t.by(), c, t.said)
		if err != nil {
			return reply{}, err
		}
		return t.statusReply(after)
	}}, nil
}

// again opens a handled or closed case again; past the reopen
// window it says how to bring the matter back.
func (t *turn) again(c desk.Case, result string) step {
	return step{write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		after, err := t.e.Desk.NotSolvedTx(ctx, tx, t.by(), c, result)
		if refusedWith(err, desk.RefusedTooLate) {
			return t.reply("case.closed", wording.Vars{"case_no": c.No})
		}
		if refusedWith(err, desk.RefusedState) {
			return t.statusReply(c)
		}
		if err != nil {
			return reply{}, err
		}
		key := "case.reopened"
		if result == desk.FollowUpPartly {
			key = "case.partly"
		}
		return t.reply(key, wording.Vars{"case_no": after.No, "next_time": t.when(after.PromisedAt)})
	}}
}

func (t *turn) solved(c desk.Case) (step, error) {
	if c.State == desk.StateClosed {
		if c.Rating > 0 {
			return t.say("case.rated_thanks", nil)
		}
		return t.say("case.rate", wording.Vars{"case_no": c.No})
	}
	return step{write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		_, err := t.e.Desk.SolvedTx(ctx, tx, t.by(), c)
		if refusedWith(err, desk.RefusedState) {
			return t.statusReply(c)
		}
		if err != nil {
			return reply{}, err
		}
		return t.reply("case.rate", wording.Vars{"case_no": c.No})
	}}, nil
}

// rate takes 1 to 5 as rating where one was asked for not long ago, and nowhere else.
func (t *turn) rate(ctx context.Context, rating int, words string) (step, error) {
	c, found, err := t.rateable(ctx)
	if err != nil {
		return step{}, err
	}
	if !found {
		return t.other(ctx)
	}
	return t.rateCase(c, rating, words), nil
}

// rateable is the case whose rating was asked for last.
func (t *turn) rateable(ctx context.Context) (desk.Case, bool, error) {
	return t.newestCase(ctx, func(c desk.Case) bool {
		asked := c.State == desk.StateHandled || c.State == desk.StateClosed && c.FollowUp != desk.FollowUpUnreachable
		return asked && c.Rating == 0 && t.lately(c)
	})
}

func (t *turn) rateCase(c desk.Case, rating int, words string) step {
	return step{write: func(ctx context.Context, tx *db.Tx) (reply, error) {
		after, err := t.e.Desk.RateTx(ctx, tx, t.by(), c, rating, words)
		if refusedWith(err, desk.RefusedState) {
			return t.statusReply(c) // it lives again
		}
		if err != nil {
			return reply{}, err
		}
		if after.Rating <= t.company.Settings.LowScore {
			return t.reply("case.rated_low", wording.Vars{"next_time": t.when(after.PromisedAt)})
		}
		return t.reply("case.rated_thanks", wording.Vars{"rating": t.e.Book.Label("satisfaction", itoa(after.Rating))})
	}}
}

// rating is the classifier's reading of a rating in words.
func (t *turn) rating(ctx context.Context) (step, error) {
	if t.read.Slots.Rating == 0 {
		return t.other(ctx)
	}
	return t.rate(ctx, t.read.Slots.Rating, t.said)
}

// lately tells whether a handled or closed case is young enough to be gone on
// about: it can still be opened again.
func (t *turn) lately(c desk.Case) bool {
	ended := c.HandledAt
	if c.ClosedAt.After(ended) {
		ended = c.ClosedAt
	}
	return t.e.Clock.Now().Sub(ended) <= t.company.Settings.ReopenWindow
}

func refusedWith(err error, code string) bool {
	var r *desk.Refused
	return errors.As(err, &r) && r.Code == code
}
