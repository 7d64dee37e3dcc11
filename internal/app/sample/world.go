package sample

import (
	"strings"
)

// World is the body of PUT /sim/world: what the simulators are told.
type World struct {
	Accounts  []worldAccount  `json:"accounts"`
	Bots      []worldBot      `json:"bots"`
	Corps     []worldCorp     `json:"corps"`
	Webhooks  []worldWebhook  `json:"webhooks"`
	SMS       []worldSMS      `json:"sms"`
	Residents []worldResident `json:"residents"`
	Groups    []worldGroup    `json:"groups"`
	Staff     []worldStaff    `json:"staff"`
}

type (
	worldAccount struct {
		AppID          string          `json:"app_id"`
		Secret         string          `json:"secret"`
		Token          string          `json:"token"`
		EncodingAESKey string          `json:"encoding_aes_key"`
		Mode           string          `json:"mode"`
		OriginalID     string          `json:"original_id"`
		Templates      []worldTemplate `json:"templates"`
		CallbackURLs   []string        `json:"callback_urls"`
	}
	worldTemplate struct {
		TemplateID string `json:"template_id"`
		Title      string `json:"title"`
		Content    string `json:"content"`
	}
	worldBot struct {
		BotID  string `json:"bot_id"`
		Secret string `json:"secret"`
		Name   string `json:"name"`
	}
	worldCorp struct {
		CorpID  string `json:"corp_id"`
		Secret  string `json:"secret"`
		AgentID int    `json:"agent_id"`
	}
	worldWebhook struct {
		Key    string `json:"key"`
		ChatID string `json:"chatid"`
	}
	worldSMS struct {
		AccessKeyID string             `json:"access_key_id"`
		Secret      string             `json:"secret"`
		Signs       []string           `json:"signs"`
		Templates   []worldSMSTemplate `json:"templates"`
		ReportURLs  []string           `json:"report_urls"`
		UpURLs      []string           `json:"up_urls"`
	}
	worldSMSTemplate struct {
		Code    string            `json:"template_code"`
		Name    string            `json:"name"`
		Type    int               `json:"type"` // 0 code, 1 notification
		Content string            `json:"content"`
		Rule    map[string]string `json:"rule"`
	}
	worldResident struct {
		OpenID    string   `json:"openid"`
		Nickname  string   `json:"nickname"`
		Following bool     `json:"following"`
		Phone     string   `json:"phone"`
		BoundTo   []string `json:"bound_to"`
	}
	worldGroup struct {
		ChatID  string   `json:"chatid"`
		Name    string   `json:"name"`
		Members []string `json:"members"`
		Spoken  bool     `json:"spoken"`
	}
	worldStaff struct {
		UserID string `json:"userid"`
		Name   string `json:"name"`
		Phone  string `json:"phone"`
	}
)

// World gives what the simulators are told, with callbacks to every node of
// the product (base URLs, none ending in a slash).
func (s *Sample) World(public []string) World {
	w := World{
		Accounts: []worldAccount{{
			AppID: s.Account.AppID, Secret: s.Account.Secret, Token: s.Account.Token, EncodingAESKey: s.Account.AESKey,
			Mode: s.Account.Mode, OriginalID: s.Account.OriginalID, CallbackURLs: under(public, s.CallbackPath()),
		}},
		Bots:  []worldBot{{s.Bot.BotID, s.Bot.Secret, s.Bot.Name}},
		Corps: []worldCorp{{s.Corp.CorpID, s.Corp.Secret, s.Corp.AgentID}},
		SMS: []worldSMS{{
			AccessKeyID: s.SMS.AccessKeyID, Secret: s.SMS.AccessKeySecret, Signs: []string{s.SMS.Sign},
			ReportURLs: under(public, s.ReportPath()), UpURLs: under(public, s.UpPath()),
		}},
		Residents: s.worldResidents(),
	}
	for _, t := range s.messages {
		w.Accounts[0].Templates = append(w.Accounts[0].Templates, worldTemplate{templateID(t.Purpose), t.Title, t.Content()})
	}
	for _, t := range s.sms {
		v := worldSMSTemplate{Code: smsCode(t.Purpose), Name: t.Name, Type: 1, Content: t.Content, Rule: map[string]string{}}
		if t.Class == "code" {
			v.Type = 0
		}
		for _, x := range t.Vars {
			v.Rule[x.Name] = x.Attr
		}
		w.SMS[0].Templates = append(w.SMS[0].Templates, v)
	}
	for _, h := range s.Webhooks {
		w.Webhooks = append(w.Webhooks, worldWebhook{h.Key, h.ChatID})
	}
	for _, g := range s.Groups {
		w.Groups = append(w.Groups, worldGroup{g.ChatID, g.Name, s.groupMembers[g.ChatID], true})
	}
	for _, m := range s.Staff {
		w.Staff = append(w.Staff, worldStaff{m.UserID, m.Name, m.Phone})
	}
	return w
}

// worldResidents are the WeChat users: those who follow and are bound, and the
// story's, who does not follow yet.
func (s *Sample) worldResidents() []worldResident {
	var out []worldResident
	at := map[string]int{} // of residents who may come again: two-flat owners
	for h := range s.Households() {
		for _, p := range h.People {
			switch {
			case p.Phone == ownPhone:
				out = append(out, worldResident{OpenID: openID(1), Nickname: p.Nickname, Phone: p.Phone, BoundTo: []string{}})
			case p.Known:
				i := at[p.OpenID]
				out[i].BoundTo = append(out[i].BoundTo, h.Unit.Code)
			case p.Bound():
				if len(h.People) == 1 {
					at[p.OpenID] = len(out)
				}
				out = append(out, worldResident{OpenID: p.OpenID, Nickname: p.Nickname, Following: true, Phone: p.Phone, BoundTo: []string{h.Unit.Code}})
			}
		}
	}
	return out
}

// CallbackPath, ReportPath and UpPath are where the vendors call us.
func (s *Sample) CallbackPath() string { return "/wechat/" + s.Account.Path }

// ReportPath takes the carrier's receipts.
func (s *Sample) ReportPath() string {
	return "/sms/" + CompanyID + "/" + s.SMS.CallbackSecret + "/report"
}

// UpPath takes residents' answers by SMS.
func (s *Sample) UpPath() string { return "/sms/" + CompanyID + "/" + s.SMS.CallbackSecret + "/up" }

func under(bases []string, path string) []string {
	out := make([]string, len(bases))
	for i, b := range bases {
		out[i] = strings.TrimSuffix(b, "/") + path
	}
	return out
}

// Ready is the ready line of demo and seed.
type Ready struct {
	Ready    bool              `json:"ready"`
	Listen   string            `json:"listen"`
	Sandbox  string            `json:"sandbox"`
	Console  ReadyConsole      `json:"console"`
	APIToken string            `json:"api_token"`
	Tokens   map[string]string `json:"tokens"`
	Bot      ReadyBot          `json:"bot"`
	Account  ReadyAccount      `json:"account"`
	SMS      ReadySMS          `json:"sms"`
	Project  ReadyProject      `json:"project"`
	Queues   []ReadyQueue      `json:"queues"`
	Groups   []ReadyGroup      `json:"groups"`
	Staff    []ReadyStaff      `json:"staff"`
}

// Parts of the ready line.
type (
	ReadyConsole struct {
		URL      string `json:"url"`
		User     string `json:"user"`
		Password string `json:"password"`
	}
	ReadyBot struct {
		Name   string `json:"name"`
		BotID  string `json:"bot_id"`
		Secret string `json:"secret"`
	}
	ReadyAccount struct {
		Path           string `json:"path"`
		AppID          string `json:"app_id"`
		Token          string `json:"token"`
		EncodingAESKey string `json:"encoding_aes_key"`
		OriginalID     string `json:"original_id"`
	}
	ReadySMS struct {
		ReportPath string `json:"report_path"`
		UpPath     string `json:"up_path"`
	}
	ReadyProject struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	ReadyQueue struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		Line string `json:"line"`
	}
	ReadyGroup struct {
		ChatID string `json:"chatid"`
		Name   string `json:"name"`
		Queue  string `json:"queue"`
	}
	ReadyStaff struct {
		UserID      string   `json:"userid"`
		Name        string   `json:"name"`
		Role        string   `json:"role"`
		Phone       string   `json:"phone"`
		ConsoleUser string   `json:"console_user"`
		Groups      []string `json:"groups"`
	}
)

// Ready gives the ready line for a product at listen and simulators at sandbox
// (base URLs).
func (s *Sample) Ready(listen, sandbox string) Ready {
	r := Ready{
		Ready: true, Listen: listen, Sandbox: sandbox,
		Console:  ReadyConsole{URL: strings.TrimSuffix(listen, "/") + "/console/", User: ConsoleUser, Password: ConsolePassword},
		APIToken: s.AdminToken(), Tokens: map[string]string{},
		Bot:     ReadyBot{s.Bot.Name, s.Bot.BotID, s.Bot.Secret},
		Account: ReadyAccount{s.CallbackPath(), s.Account.AppID, s.Account.Token, s.Account.AESKey, s.Account.OriginalID},
		SMS:     ReadySMS{s.ReportPath(), s.UpPath()},
		Project: ReadyProject{s.Project.ID, s.Project.Name},
	}
	for _, q := range s.Queues {
		r.Queues = append(r.Queues, ReadyQueue{q.ID, q.Name, q.Line})
	}
	groupsOf := map[string][]string{}
	for _, g := range s.Groups {
		r.Groups = append(r.Groups, ReadyGroup{g.ChatID, g.Name, g.QueueID})
		for _, u := range s.groupMembers[g.ChatID] {
			groupsOf[u] = append(groupsOf[u], g.ChatID)
		}
	}
	for _, m := range s.Staff {
		r.Tokens[m.UserID] = s.Token(m.UserID)
		r.Staff = append(r.Staff, ReadyStaff{m.UserID, m.Name, m.Role, m.Phone, m.UserID, append([]string{}, groupsOf[m.UserID]...)})
	}
	return r
}
