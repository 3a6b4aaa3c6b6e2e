//! PDFs that were made to take down whoever reads them, among others that are to be read.

use crate::kit::World;

/// A PDF of these objects, of which the first is its catalog.
fn pdf(objects: &[String]) -> Vec<u8> {
    let mut file = "%PDF-1.4\n".to_owned();
    let mut places = String::new();
    for (at, object) in objects.iter().enumerate() {
        places += &format!("{:010} 00000 n \n", file.len());
        file += &format!("{} 0 obj\n{object}\nendobj\n", at + 1);
    }
    let (table, size) = (file.len(), objects.len() + 1);
    file += &format!("xref\n0 {size}\n0000000000 65535 f \n{places}trailer\n<< /Size {size} /Root 1 0 R >>\n");
    file += &format!("startxref\n{table}\n%%EOF\n");
    file.into_bytes()
}

/// A PDF of one page, whose resources are the third object, and what that page shows the fourth.
fn page(resources: &str, content: &str, shown: &str) -> Vec<u8> {
    let page = format!("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources 3 0 R /Contents {shown} >>");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [5 0 R] /Count 1 >>".to_owned(),
        resources.to_owned(),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        page,
    ];
    pdf(&objects)
}

#[test]
fn a_pdf_that_takes_its_reader_down_is_skipped_and_the_others_are_read() {
    let world = World::new();
    let font = "<< /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>";
    let text = "BT /F 12 Tf 72 720 Td (The otter eats crayfish in winter.) Tj ET";
    let good = page(font, text, "4 0 R");
    // What the page shows shows itself, and so on: the stack overflows.
    let deep = page("<< /XObject << /F 4 0 R >> >>", "/F Do", "4 0 R");
    // The page is one mebibyte of nothing, four thousand times: four gibibytes.
    let wide = page(font, &" ".repeat(1 << 20), &format!("[{}]", "4 0 R ".repeat(4096)));
    for (name, bad) in [("deep", deep), ("wide", wide)] {
        world.file(&format!("{name}/good.pdf"), &good);
        world.file(&format!("{name}/{name}.pdf"), bad);
        let did = world.run(&["run", "--ask", "What does the otter eat in winter?", "--sources", name]);
        assert_eq!(did.exit, 0, "{}", did.err);
        assert!(did.out.contains("The otter eats crayfish in winter."), "{}", did.out);
        assert!(did.out.contains("good.pdf p. 1"), "{}", did.out);
        let told = did.err.split_whitespace().collect::<Vec<_>>().join(" ");
        let skipped = format!("skipped 1 ({name}.pdf: broken PDF, or it takes more than 1 GiB to read)");
        assert!(told.contains(&skipped), "{}", did.err);
    }
}
