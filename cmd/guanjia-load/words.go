package main

import (
	"fmt"
	"regexp"
	"strings"

	"guanjia/internal/wording"
	"guanjia/templates"
)

// courtesies are messages that the product answers from the words alone.
func courtesies() []string {
	return []string{"谢谢", "你好", "您好", "早上好", "好的谢谢", "太感谢了", "再见", "晚上好", "非常感谢师傅", "在吗", "多谢管家"}
}

// matters are messages that open a case each, when a fresh resident writes them.
func matters() []string {
	return []string{
		"楼道灯不亮了", "电梯又坏了,你们管不管", "楼下垃圾桶满了没人收", "厨房水管漏水,请来修一下", "单元门禁刷不开了",
		"草坪好久没人修剪了", "楼上半夜装修太吵", "地下车库的灯坏了", "马桶堵了,麻烦派师傅来",
	}
}

// numbered finds a case number in a text of the product.
var numbered = regexp.MustCompile(`#(\d{6,9})`)

func caseNo(text string) string {
	if m := numbered.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// courtesyText recognizes the fixed text that a push gets while the database is
// away. It is no answer: that one follows.
type courtesyText struct{ before, after string }

func loadCourtesy() (courtesyText, error) {
	book, err := wording.Load(templates.FS())
	if err != nil {
		return courtesyText{}, fmt.Errorf("texts: %w", err)
	}
	const hotline = "0571-00000000"
	text, err := book.Say("away", wording.Vars{"hotline": hotline})
	if err != nil {
		return courtesyText{}, fmt.Errorf("text of an away database: %w", err)
	}
	before, after, _ := strings.Cut(text.String(), hotline)
	return courtesyText{before, after}, nil
}

func (c courtesyText) is(text string) bool {
	return strings.HasPrefix(text, c.before) && strings.HasSuffix(strings.TrimSpace(text), c.after)
}
