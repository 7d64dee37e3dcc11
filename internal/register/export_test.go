package register_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"guanjia/internal/db"
	"guanjia/internal/register"
)

func (s suite) export(t *testing.T, company string, f register.Filter, format register.Format) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.ExportPublications(context.Background(), company, f, format, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestExportPublications(t *testing.T) {
	t.Parallel()
	run(t, func(t *testing.T, s suite) {
		p := draft("0001")
		p.Title, p.Scope = "=1+1 <b>停水</b>", "3栋"
		later := draft("0002")
		later.Author.At = start.Add(40 * 24 * time.Hour)
		s.inTx(t, func(ctx context.Context, tx *db.Tx) error {
			return errors.Join(
				s.PublicationTx(ctx, tx, p), s.PublicationTx(ctx, tx, later),
				s.ApprovedTx(ctx, tx, ref("0001"), act("zhao", 2), true), s.PublishedTx(ctx, tx, ref("0001"), start.Add(3*time.Hour)),
				s.TickFormTx(ctx, tx, ref("0001"), register.Form{Form: register.FormPoster, Detail: "3栋大堂", Act: act("qian", 4)}),
				s.CountsTx(ctx, tx, ref("0001"), register.Counts{Households: 10, Reached: 9}),
			)
		})
		march := register.Filter{From: start.Add(-24 * time.Hour), To: start.Add(30 * 24 * time.Hour)}

		var doc struct {
			Register, Title, Company string
			FormCode                 string `json:"form_code"`
			Publications             []struct {
				Seq        int
				No, State  string
				Approved   *struct{ Name, At string }
				Endorsed   *struct{ Name string }
				EndorseDue bool `json:"endorse_due"`
				Households int
				Forms      []struct {
					Form string
					Done bool
					Name string
				}
			}
		}
		if err := json.Unmarshal(s.export(t, "c1", march, register.JSON), &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Register != "publications" || doc.Title != "对客信息发布一览表" || doc.Company != "青禾物业" || doc.FormCode != "VK-WY/TX08-K05-F2" || len(doc.Publications) != 1 {
			t.Fatalf("document is %+v", doc)
		}
		row := doc.Publications[0]
		if row.Seq != 1 || row.No != "T0001" || row.State != "published" || row.Approved == nil || row.Approved.At != "2026-03-02T11:00:00+08:00" || row.Endorsed != nil || !row.EndorseDue ||
			row.Households != 10 || len(row.Forms) != 2 || row.Forms[0].Form != "poster" || !row.Forms[0].Done || row.Forms[1].Done {
			t.Errorf("row is %+v", row)
		}

		page := string(s.export(t, "c1", march, register.HTML))
		for _, want := range []string{"《对客信息发布一览表》", "VK-WY/TX08-K05-F2", "青禾物业", "A4 landscape", "&lt;b&gt;停水", "名zhao 2026-03-02 11:00", "待补审批", "☑ 张贴", "3栋大堂", "☐ 短信", "2026-03-01 至 2026-04-01"} {
			if !strings.Contains(page, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
		if strings.Contains(page, "T0002") || strings.Contains(page, "<b>停水") {
			t.Error("the page shows another month, or text as markup")
		}
		if empty := string(s.export(t, "c2", march, register.HTML)); !strings.Contains(empty, "没有发布记录") || strings.Contains(empty, "T0001") {
			t.Error("another company's page")
		}

		f, err := excelize.OpenReader(bytes.NewReader(s.export(t, "c1", register.Filter{}, register.Excel)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		rows, err := f.GetRows("对客信息发布一览表")
		if err != nil || len(rows) != 5 || len(rows[3]) < 19 {
			t.Fatalf("%d rows, %v", len(rows), err)
		}
		if rows[2][0] != "序号" || rows[3][1] != "T0001" || rows[3][4] != "=1+1 <b>停水</b>" || !strings.Contains(rows[3][7], "☑张贴 名qian 2026-03-02 13:00 3栋大堂") || rows[4][1] != "T0002" {
			t.Errorf("rows are %q", rows)
		}
		if formula, err := f.GetCellFormula("对客信息发布一览表", "E4"); err != nil || formula != "" {
			t.Errorf("a title became the formula %q, %v", formula, err)
		}
		if err := s.ExportPublications(context.Background(), "c1", march, "docx", &bytes.Buffer{}); !errors.Is(err, register.ErrFormat) {
			t.Errorf("unknown format: %v", err)
		}
	})
}
