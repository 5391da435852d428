module node_images

go 1.26.0
