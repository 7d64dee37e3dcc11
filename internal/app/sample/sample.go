package sample

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"guanjia/internal/company"
	"guanjia/internal/estate"
	"guanjia/internal/queue"
	"guanjia/internal/staff"
	"guanjia/internal/wording"
)

// Ids of the sample, fixed as all of it.
const (
	CompanyID  = "demo"
	ProjectID  = "project-qinghe"
	AccountID  = "account-demo"
	SMSID      = "sms-demo"
	CorpRowID  = "corp-demo"
	BotRowID   = "bot-demo"
	BotID      = "aibDemoGuanjia01"
	BotName    = "管家"
	AppID      = "wxdemo0123456789ab"
	OriginalID = "gh_demo01234567"

	// ConsoleUser and ConsolePassword sign an administrator in; every member
	// of the staff has the same password under his userid.
	ConsoleUser     = "admin"
	ConsolePassword = "guanjia-demo"
)

// consoleHash is ConsolePassword by argon2id at the product's cost. It is fixed
// because the sample is, and because 27 hashes would take a second.
const consoleHash = "$argon2id$v=19$m=19456,t=2,p=1$RoIvON5eSLwHDAvNTSNI9g$O0kpw+wYpbElpxJTvn8MC+8CBKopRPN45w68GesYKpU"

//go:embed data/faq.jsonl
var articleFile []byte

// Options of Company.
type Options struct {
	// Residents is how many there are; less than the fixed part (about 490)
	// means just that. At most 1,000,000.
	Residents int
	// Book gives the catalogue of SMS and message templates that the accounts
	// have registered.
	Book *wording.Book
}

// Sample is the sample company.
type Sample struct {
	Company  company.Company
	Project  estate.Project
	Account  company.WeChatAccount
	Bot      company.WeComBot
	Corp     company.WeComCorp
	SMS      company.SMSAccount
	Webhooks []company.Webhook
	Queues   []queue.Queue
	Groups   []staff.WorkGroup
	Staff    []staff.Member

	residents    int
	queueMembers []staff.QueueMember
	groupMembers map[string][]string // chat -> userids
	sms          []wording.SMSTemplate
	messages     []wording.MessageTemplate
}

// Company gives the sample company.
func Company(o Options) *Sample {
	s := &Sample{
		residents: min(o.Residents, 1_000_000), groupMembers: map[string][]string{},
		sms: o.Book.SMSCatalogue(), messages: o.Book.TemplateCatalogue(),
	}
	settings := company.DefaultSettings()
	settings.Hotline, settings.ServicePhone = "0571-00000024", "0571-00000018"
	// Working hours are those that the articles tell: every day 8:30 to 18:00.
	settings.Calendar = []byte(`{"week":{"mon":["08:30-18:00"],"tue":["08:30-18:00"],"wed":["08:30-18:00"],"thu":["08:30-18:00"],` +
		`"fri":["08:30-18:00"],"sat":["08:30-18:00"],"sun":["08:30-18:00"]},"holiday":null}`)
	s.Company = company.Company{ID: CompanyID, Name: "青禾物业服务有限公司", Short: "青禾物业", Settings: settings}
	s.Project = estate.Project{ID: ProjectID, CompanyID: CompanyID, Name: "青禾花园", ServiceCenter: "青禾花园服务中心"}
	s.accounts()
	s.teams()
	return s
}

// Articles are the sample's knowledge articles as JSON lines: id, question,
// phrasings, answer, topic.
func (s *Sample) Articles() []byte { return articleFile }

func (s *Sample) accounts() {
	s.Account = company.WeChatAccount{
		ID: AccountID, CompanyID: CompanyID, Path: "demo", AppID: AppID, Secret: hexSecret("app secret"), Token: hexSecret("callback token")[:24],
		AESKey: aesKey("callback key"), Mode: company.ModeEncrypted, OriginalID: OriginalID, Templates: map[string]string{},
	}
	for _, t := range s.messages {
		s.Account.Templates[t.Purpose] = templateID(t.Purpose)
	}
	s.Bot = company.WeComBot{ID: BotRowID, CompanyID: CompanyID, BotID: BotID, Secret: hexSecret("bot secret"), Name: BotName}
	s.Corp = company.WeComCorp{ID: CorpRowID, CompanyID: CompanyID, CorpID: "wwdemo0123456789", Secret: hexSecret("corp secret"), AgentID: 1000002}
	s.SMS = company.SMSAccount{
		ID: SMSID, CompanyID: CompanyID, AccessKeyID: "LTAIdemoGuanjia0001", AccessKeySecret: hexSecret("sms secret")[:30],
		Sign: s.Company.Short, CallbackSecret: hexSecret("sms callback")[:24], Templates: map[string]string{},
	}
	for _, t := range s.sms {
		s.SMS.Templates[t.Purpose] = smsCode(t.Purpose)
	}
}

func (s *Sample) teams() {
	byLine := map[string]int{}
	for i, l := range lines() {
		q := queue.Queue{ID: "queue-" + l.line, CompanyID: CompanyID, ProjectID: ProjectID, Line: l.line, Name: l.name}
		s.Queues = append(s.Queues, q)
		s.Groups = append(s.Groups, staff.WorkGroup{
			ID: "group-" + l.line, CompanyID: CompanyID, BotID: BotID, ChatID: l.chatID, Name: l.group, QueueID: q.ID,
		})
		s.Webhooks = append(s.Webhooks, company.Webhook{ID: "webhook-" + l.line, CompanyID: CompanyID, Key: uuidSecret("webhook " + l.line), ChatID: l.chatID})
		byLine[l.line] = i
	}
	for i, p := range people() {
		s.Staff = append(s.Staff, staff.Member{
			CompanyID: CompanyID, UserID: p.userID, Name: p.name, Role: string(p.role), Phone: fmt.Sprintf("139%08d", i+1),
			Trainee: p.role == staff.RoleTrainee, OnDuty: true,
		})
		for _, l := range p.lines {
			g := s.Groups[byLine[l]]
			s.groupMembers[g.ChatID] = append(s.groupMembers[g.ChatID], p.userID)
			s.queueMembers = append(s.queueMembers, staff.QueueMember{CompanyID: CompanyID, QueueID: g.QueueID, UserID: p.userID})
		}
	}
}

// AdminToken is an administrator's API token.
func (s *Sample) AdminToken() string { return "gj_demo_" + hexSecret("token admin") }

// Token is a member's API token.
func (s *Sample) Token(userID string) string { return "gj_demo_" + hexSecret("token of "+userID) }

// hexSecret is a fixed secret of 32 characters for a purpose. They are public,
// with the rest of the sample.
func hexSecret(purpose string) string {
	sum := sha256.Sum256([]byte("guanjia demo " + purpose))
	return hex.EncodeToString(sum[:16])
}

func uuidSecret(purpose string) string {
	h := hexSecret(purpose)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

// aesKey is a fixed EncodingAESKey: 43 letters and digits.
func aesKey(purpose string) string {
	for i := 0; ; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "guanjia demo %s %d", purpose, i))
		key := base64.StdEncoding.EncodeToString(sum[:])[:43]
		if !strings.ContainsAny(key, "+/") {
			return key
		}
	}
}

// templateID has the form of the platform's: 43 characters.
func templateID(purpose string) string {
	sum := sha256.Sum256([]byte("guanjia demo template " + purpose))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// smsCode has the form of the carrier's: SMS_ and nine digits.
func smsCode(purpose string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(purpose)) // a hash never fails
	return fmt.Sprintf("SMS_%09d", 100_000_000+h.Sum32()%800_000_000)
}

// since is when everyone moved in, boundAt when the followers bound.
func since() time.Time   { return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) }
func boundAt() time.Time { return time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC) }

func buildingID(b string) string    { return "building-" + b }
func entranceID(b, e string) string { return "entrance-" + b + "-" + e }
