package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/xuri/excelize/v2"

	"guanjia/internal/register"
)

// Evidence is the proof of a notice: what was said to whom, who approved it and
// when, every delivery, and who was told by a person. The deliveries are read
// when they are written, since there may be a million.
type Evidence struct {
	Notice      Notice               `json:"notice"`
	Events      []Event              `json:"events"`
	Progress    Progress             `json:"progress"`
	Publication register.Publication `json:"publication"`
	// Unreached are the homes that no message reached, with what came of the
	// calls; at most mostUnreached of them.
	Unreached []Household `json:"unreached"`
	// Related are the notices of its chain: changes, the end.
	Related []Related `json:"related"`

	n *Notices
}

// Related is another notice of the same chain.
type Related struct {
	No    string `json:"no"`
	Kind  string `json:"kind"`
	State State  `json:"state"`
	At    Time   `json:"at"`
}

// mostUnreached bounds the list on a page; the Excel file has them all.
const mostUnreached = 5000

// Evidence gathers the proof of a notice.
func (n *Notices) Evidence(ctx context.Context, companyID, id string) (Evidence, error) {
	x, err := n.ByID(ctx, companyID, id)
	if err != nil {
		return Evidence{}, err
	}
	e := Evidence{Notice: x, n: n}
	if e.Events, err = n.Events(ctx, companyID, id); err != nil {
		return Evidence{}, err
	}
	if e.Progress, err = n.Progress(ctx, companyID, id); err != nil {
		return Evidence{}, err
	}
	if e.Publication, _, err = n.Register.ByRef(ctx, n.DB, ref(x)); err != nil {
		return Evidence{}, err
	}
	chain, err := n.chain(ctx, n.DB, x.chainID)
	if err != nil {
		return Evidence{}, err
	}
	for _, c := range chain {
		if c.ID != x.ID {
			e.Related = append(e.Related, Related{c.No, n.kindName(c.Kind), c.State, c.ApprovedAt})
		}
	}
	err = e.eachUnreached(ctx, func(h Household) error {
		if len(e.Unreached) == mostUnreached {
			return errEnough
		}
		e.Unreached = append(e.Unreached, h)
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return e, err
}

var errEnough = errors.New("notify: enough")

// EachDelivery gives every delivery of the notice and its reminder, in order.
func (e Evidence) EachDelivery(ctx context.Context, f func(d Delivery, reminder bool) error) error {
	for _, kind := range []string{RefNotice, RefReminder} {
		cursor := ""
		for {
			page, err := e.n.Ledger.PageByRef(ctx, e.n.DB, kind, e.Notice.ID, cursor, 500)
			if err != nil {
				return fmt.Errorf("notify: read deliveries: %w", err)
			}
			if len(page) == 0 {
				break
			}
			list, err := e.n.describe(ctx, e.Notice, page)
			if err != nil {
				return err
			}
			for _, d := range list {
				if err := f(d, kind == RefReminder); err != nil {
					return err
				}
			}
			cursor = page[len(page)-1].ID
		}
	}
	return nil
}

func (e Evidence) eachUnreached(ctx context.Context, f func(Household) error) error {
	if e.Notice.frozenAt.IsZero() {
		return nil
	}
	for cursor := ""; ; {
		list, next, err := e.n.Unreached(ctx, e.Notice.CompanyID, e.Notice.ID, cursor, 500)
		if err != nil {
			return err
		}
		for _, h := range list {
			if err := f(h); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		cursor = next
	}
}

// sheetRows is how many rows one sheet takes: Excel holds 1,048,576.
const sheetRows = 1_000_000

// WriteExcel writes the evidence as a workbook: the notice, its history, the
// counts, every delivery, the homes that were not reached. Rows are streamed.
func (e Evidence) WriteExcel(ctx context.Context, w io.Writer) (err error) {
	f := excelize.NewFile()
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.SetSheetName("Sheet1", "通知"); err != nil {
		return fmt.Errorf("notify: write evidence: %w", err)
	}
	for _, part := range []struct {
		name  string
		write func(ctx context.Context, s *sheet) error
	}{{"通知", e.sheetNotice}, {"审批与经过", e.sheetEvents}, {"送达统计", e.sheetCounts}, {"逐条送达", e.sheetDeliveries}, {"未触达与电话通知", e.sheetUnreached}} {
		s := &sheet{file: f, name: part.name}
		if err := s.open(); err != nil {
			return err
		}
		if err := part.write(ctx, s); err != nil {
			return err
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
	if err := f.Write(w); err != nil {
		return fmt.Errorf("notify: write evidence: %w", err)
	}
	return nil
}

// sheet streams rows into a sheet and begins another one when it is full.
type sheet struct {
	file   *excelize.File
	name   string
	part   int
	head   []any
	stream *excelize.StreamWriter
	row    int
}

func (s *sheet) open() error {
	name := s.name
	if s.part > 0 {
		name += strconv.Itoa(s.part + 1)
	}
	if _, err := s.file.NewSheet(name); err != nil {
		return fmt.Errorf("notify: write evidence: %w", err)
	}
	var err error
	if s.stream, err = s.file.NewStreamWriter(name); err != nil {
		return fmt.Errorf("notify: write evidence: %w", err)
	}
	if err := s.stream.SetColWidth(1, 12, 20); err != nil {
		return fmt.Errorf("notify: write evidence: %w", err)
	}
	s.row = 0
	if s.part > 0 {
		return s.put(s.head...)
	}
	return nil
}

func (s *sheet) put(cells ...any) error {
	if s.row >= sheetRows {
		if err := s.flush(); err != nil {
			return err
		}
		s.part++
		if err := s.open(); err != nil {
			return err
		}
	}
	s.row++
	// Texts stay texts: a name that begins with = is no formula.
	if err := s.stream.SetRow("A"+strconv.Itoa(s.row), cells); err != nil {
		return fmt.Errorf("notify: write evidence: %w", err)
	}
	return nil
}

func (s *sheet) header(cells ...any) error {
	s.head = cells
	return s.put(cells...)
}

func (s *sheet) flush() error {
	if err := s.stream.Flush(); err != nil {
		return fmt.Errorf("notify: write evidence: %w", err)
	}
	return nil
}

func stamp(t Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(localTime()).Format("2006-01-02 15:04:05")
}

func (e Evidence) sheetNotice(_ context.Context, s *sheet) error {
	x, book := e.Notice, e.n.Book
	var related []string
	for _, r := range e.Related {
		related = append(related, r.No+" "+r.Kind)
	}
	var channels []string
	for _, c := range x.Channels {
		channels = append(channels, book.Label("channel", c))
	}
	for _, row := range [][]any{
		{"编号", x.No}, {"种类", e.n.kindName(x.Kind)}, {"标题", x.Title}, {"小区", x.ProjectName}, {"影响范围", x.Place},
		{"开始时间", stamp(x.StartsAt)}, {"结束时间", stamp(x.EndsAt)}, {"原因", x.Reason}, {"住户怎么做", x.Action}, {"咨询电话", x.Contact},
		{"提前不足的理由", x.ShortNotice}, {"发送方式", strings.Join(channels, "、")}, {"状态", book.Label("notice_state", string(e.Progress.State))},
		{"拟稿", x.AuthorName, stamp(x.CreatedAt)}, {"批准", x.ApproverName, stamp(x.ApprovedAt)}, {"补批", x.EndorserName, stamp(x.EndorsedAt)},
		{"开始发送", stamp(x.StartedAt)}, {"发送完成", stamp(e.Progress.FinishedAt)}, {"取消", stamp(x.CancelledAt)},
		{"短信条数（每条计费）", x.Segments}, {"预计费用（元）", fmt.Sprintf("%d.%02d", x.CostFen/100, x.CostFen%100)},
		{"短信全文", x.Preview.SMS}, {"模板消息全文", x.Preview.Template}, {"相关通知", strings.Join(related, "、")},
	} {
		if err := s.put(row...); err != nil {
			return err
		}
	}
	return nil
}

func (e Evidence) sheetEvents(_ context.Context, s *sheet) error {
	if err := s.header("时间", "事项", "工号", "姓名", "途径", "内容"); err != nil {
		return err
	}
	for _, v := range e.Events {
		if err := s.put(stamp(v.At), e.n.Book.Label("notice_event", v.Kind), v.By, v.Name, v.Via, v.Text); err != nil {
			return err
		}
	}
	return nil
}

func (e Evidence) sheetCounts(_ context.Context, s *sheet) error {
	p := e.Progress
	for _, row := range [][]any{{"户数", p.Reach.Households}, {"送达户数", p.Reach.Reached}, {"电话或上门通知户数", p.Reach.Called}, {}} {
		if err := s.put(row...); err != nil {
			return err
		}
	}
	if err := s.put("方式", "状态", "条数"); err != nil {
		return err
	}
	for _, ch := range sortedKeys(p.ByChannel) {
		for _, st := range sortedKeys(p.ByChannel[ch]) {
			if err := s.put(e.n.Book.Label("channel", ch), e.n.Book.Label("delivery", st), p.ByChannel[ch][st]); err != nil {
				return err
			}
		}
	}
	if err := s.put(); err != nil {
		return err
	}
	if err := s.put("楼栋", "户数", "送达户数", "短信送达", "模板消息送达", "电话或上门"); err != nil {
		return err
	}
	for _, b := range p.ByBuilding {
		if err := s.put(b.Building, b.Households, b.Reached, b.SMS, b.Template, b.Called); err != nil {
			return err
		}
	}
	return nil
}

func (e Evidence) sheetDeliveries(ctx context.Context, s *sheet) error {
	if err := s.header("房号", "方式", "号码或粉丝", "状态", "代码", "时间", "外部编号", "类别"); err != nil {
		return err
	}
	return e.EachDelivery(ctx, func(d Delivery, reminder bool) error {
		class := "通知"
		if reminder {
			class = "开始前提醒"
		}
		return s.put(d.Unit, e.n.Book.Label("channel", d.Channel), d.Address, e.n.Book.Label("delivery", d.State), d.Code, stamp(d.At), d.OutID, class)
	})
}

func (e Evidence) sheetUnreached(ctx context.Context, s *sheet) error {
	if err := s.header("房号", "住户", "电话", "原因", "通知人", "结果", "时间"); err != nil {
		return err
	}
	return e.eachUnreached(ctx, func(h Household) error {
		var names, phones, why []string
		for _, p := range h.Residents {
			names = append(names, p.Name)
			if p.Phone != "" {
				phones = append(phones, p.Phone)
			}
		}
		for _, r := range h.Reasons {
			text := r.Text
			if r.Channel != "" {
				text = e.n.Book.Label("channel", r.Channel) + "：" + text
			}
			why = append(why, text)
		}
		return s.put(h.Unit, strings.Join(names, "、"), strings.Join(phones, "、"), strings.Join(why, "；"), h.CallerName, e.n.kinds.Outcomes[h.Outcome], stamp(h.CalledAt))
	})
}
