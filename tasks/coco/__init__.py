"""What AP of boxes, masks and keypoints is made of; `multitask.tasks.coco_metrics` is the door."""
