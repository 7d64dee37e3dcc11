package sms

import (
	"context"
	"strings"

	"guanjia/internal/company"
	"guanjia/internal/wording"
)

// Problem is one difference between our catalogue and what is registered.
type Problem struct {
	Purpose  string
	Template string // the vendor's code, "" when none is configured
	What     string
}

// CheckSettings finds purposes of the catalogue for which the account has no
// template code. It asks nobody.
func CheckSettings(acc company.SMSAccount, catalogue []wording.SMSTemplate) []Problem {
	var list []Problem
	for _, t := range catalogue {
		if acc.Templates[t.Purpose] == "" {
			list = append(list, Problem{t.Purpose, "", "no template code is set for this purpose"})
		}
	}
	return list
}

// templateStates are the vendor's words for the state of a template.
var templateStates = map[string]string{
	"0": "is still under review", "1": "", "2": "was rejected", "10": "was cancelled",
	"AUDIT_STATE_INIT": "is still under review", "AUDIT_STATE_PASS": "",
	"AUDIT_STATE_NOT_PASS": "was rejected", "AUDIT_STATE_CANCEL": "was cancelled",
}

// CheckTemplates asks the vendor about every template that the account is
// configured with: it must be approved and say word for word what the
// catalogue says. The doctor asks it, and a broadcast before it begins.
func (s *Service) CheckTemplates(ctx context.Context, acc company.SMSAccount, catalogue []wording.SMSTemplate) []Problem {
	list := CheckSettings(acc, catalogue)
	for _, t := range catalogue {
		code := acc.Templates[t.Purpose]
		if code == "" {
			continue
		}
		if what := s.checkTemplate(ctx, acc, code, t); what != "" {
			list = append(list, Problem{t.Purpose, code, what})
		}
	}
	return list
}

func (s *Service) checkTemplate(ctx context.Context, acc company.SMSAccount, code string, t wording.SMSTemplate) string {
	got, err := s.client.template(ctx, keys{acc.AccessKeyID, acc.AccessKeySecret}, code)
	if err != nil {
		return "could not be asked for: " + err.Error()
	}
	what, known := templateStates[got.status]
	if !known {
		return "has the unknown state " + got.status
	}
	if what != "" {
		return what
	}
	if strings.TrimSpace(got.content) != strings.TrimSpace(t.Content) {
		return "is registered with other words than the catalogue has"
	}
	return ""
}
