package deliver

import (
	"context"

	"guanjia/internal/company"
	"guanjia/internal/ledger"
)

// Directory knows the companies and their accounts.
type Directory interface {
	Directory(ctx context.Context) (*company.Directory, error)
}

// Limits answers Options.Rates from the companies' settings: what a second and a
// day of an account may hold, and the part of it that only emergencies may use.
// Channels without a setting, and accounts that nobody knows, have no limit
// here; their senders keep the vendors' limits themselves.
func Limits(d Directory) func(channel, accountID string) Rate {
	return func(channel, accountID string) Rate {
		dir, err := d.Directory(context.Background())
		if err != nil {
			return Rate{}
		}
		switch channel {
		case ledger.ChannelSMS:
			acc, _ := dir.SMSByID(accountID)
			c, ok := dir.Company(acc.CompanyID)
			if !ok {
				return Rate{}
			}
			return rateOf(c.Settings.SMSPerSecond, c.Settings.SMSPerDay, c.Settings.ReservedPercent)
		case ledger.ChannelTemplate:
			acc, _ := dir.WeChatByID(accountID)
			c, ok := dir.Company(acc.CompanyID)
			if !ok {
				return Rate{}
			}
			return rateOf(c.Settings.TemplatePerSecond, c.Settings.TemplatePerDay, c.Settings.ReservedPercent)
		}
		return Rate{}
	}
}

func rateOf(perSecond int, perDay int64, reserved int) Rate {
	// A tenth of a second may go at once, so that workers don't queue in step.
	return Rate{
		PerSecond: float64(perSecond), Burst: max(1, perSecond/10), PerDay: perDay,
		// Zero would mean the default.
		Reserved: max(float64(reserved)/100, 0.001),
	}
}
